"""`scribe-router prices`: each finding, the exit code, and a newer map beside the policies."""

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from scribe_router.config.knowledge import PRICE_MAP_SHA256, price_map
from scribe_router.config.load import load_config
from scribe_router.reports.prices import check, findings

DAY = date(2026, 11, 20)
LUNA = "{model: openai/gpt-6-luna}"
MINE = "{model: hosted_vllm/mine, api_base: http://127.0.0.1:9/v1}"
FREE = "{input_cost_per_token: 0, output_cost_per_token: 0}"
CASES: list[tuple[str, str, str, str, list[str]]] = [
    ("all is well", LUNA, "{}", "", []),
    (
        "no price at all",
        MINE,
        "{}",
        "",
        ["unpriced: a: nobody says what it costs; its model_info can (0 if it is free)"],
    ),
    ("free on one's own machine", MINE, FREE, "", []),
    ("free at a vendor", LUNA, FREE, "", ["free: a: its price is written as 0, and openai bills its models"]),
    (
        "the map's zero",
        "{model: codestral/codestral-latest}",
        "{}",
        "",
        ["unpriced: a: LiteLLM's map says 0, which is no price; its model_info can (0 if it is free)"],
    ),
    (
        "past its day in the map",
        "{model: openai/o4-mini}",
        "{}",
        "",
        ["retired: o4-mini: the price map says that it ended on 2026-10-23"],
    ),
    (
        "past its day in the table",
        LUNA,
        "{}",
        "gpt-6-luna: {valid_until: 2026-11-19}",
        ["past: gpt-6-luna: its prices held until 2026-11-19; policies/prices.yaml wants new ones"],
    ),
    (
        "soon past its day",
        LUNA,
        "{}",
        "gpt-6-luna: {valid_until: 2026-12-20}",
        ["note: ends: gpt-6-luna: its prices hold until 2026-12-20"],
    ),
    ("past its day, and used by nobody", LUNA, "{}", "gpt-6-sol: {valid_until: 2026-11-19}", []),
    ("long until its day", LUNA, "{}", "gpt-6-luna: {valid_until: 2026-12-21}", []),
    (
        "what the map says as well",
        LUNA,
        "{}",
        "gpt-6-luna: {input_cost_per_token: 1.0e-7}",
        ["note: needless: gpt-6-luna: the price map says the same now; take the row out of prices.yaml"],
    ),
    (
        "something else than the map",
        LUNA,
        "{}",
        "gpt-6-luna: {output_cost_per_token: 6.0e-7}",
        [
            "differs: gpt-6-luna: output 0.6 here, 0.5 there",
            "note: overrides: gpt-6-luna: the price map says output_cost_per_token 0.0000005",
        ],
    ),
    (
        "explained",
        LUNA,
        "{}",
        "gpt-6-luna: {output_cost_per_token: 6.0e-7, differs: {output: our contract}}",
        [
            "note: differs: gpt-6-luna: output 0.6 here, 0.5 there: our contract",
            "note: overrides: gpt-6-luna: the price map says output_cost_per_token 0.0000005",
        ],
    ),
    (
        "explained, and no difference",
        LUNA,
        "{}",
        "gpt-6-luna: {differs: {output: our contract}}",
        ["agrees: gpt-6-luna: output: the second source says the same; take the reason out"],
    ),
]


def written(folder: Path, params: str = LUNA, info: str = "{}", prices: str = "") -> Path:
    config = folder / "litellm_config.yaml"
    config.write_text(
        f"model_list:\n  - {{model_name: a, litellm_params: {params}, model_info: {info}}}\n", encoding="utf-8"
    )
    (folder / "policies").mkdir(exist_ok=True)
    if prices:
        (folder / "policies" / "prices.yaml").write_text(prices, encoding="utf-8")
    return config


@pytest.mark.parametrize(
    ("params", "info", "prices", "lines"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_findings(tmp_path: Path, params: str, info: str, prices: str, lines: list[str]) -> None:
    loaded = load_config(written(tmp_path, params, info, prices))
    assert sorted(map(str, findings(loaded, loaded.or_raise(), DAY))) == sorted(lines)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["prices", *map(str, arguments)])


def test_the_exit_code_says_whether_something_is_to_be_done(tmp_path: Path) -> None:
    well = run("check", "--config", written(tmp_path))
    assert (well.exit_code, well.stdout.splitlines()[-1]) == (0, "0 problems, 1 deployments")
    badly = run("check", "--config", written(tmp_path, MINE))
    assert (badly.exit_code, badly.stdout.splitlines()[-1]) == (1, "1 problem, 1 deployments")
    assert f"sha256 {PRICE_MAP_SHA256[:12]}" in badly.stdout
    broken = run("check", "--config", written(tmp_path, "{model: nothing}"))
    assert (broken.exit_code, broken.stdout) == (1, "")


def test_without_the_second_source_the_rest_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scribe_router.reports.prices.version", lambda: None)
    loaded = load_config(written(tmp_path, LUNA, "{}", "gpt-6-luna: {output_cost_per_token: 6.0e-7}"))
    text, problems = check(loaded, loaded.or_raise(), DAY)
    assert not problems
    assert "second source: none; pip install 'scribe-router[prices]' adds one" in text


# -- a newer map


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """LiteLLM's map with one price of the model in use changed, and some others."""
    entries: dict[str, Any] = json.loads(json.dumps(dict(price_map().entries), default=float))
    entries["gpt-6-luna"] |= {"input_cost_per_token": 1.5e-7, "tpm": 5}
    entries["gpt-5"]["input_cost_per_token"] = 1.0
    entries["gpt-7"] = {}
    del entries["gpt-4"]
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_a_newer_map_is_shown_and_not_used(tmp_path: Path, newer: Path) -> None:
    config = written(tmp_path)
    result = run("update", newer, "--config", config)
    assert result.exit_code == 0
    assert "gpt-6-luna: input_cost_per_token 0.0000001 -> 0.00000015" in result.stdout
    assert "gpt-6-luna: tpm none -> 5" in result.stdout
    assert "of the others 1 changed, 1 new, 1 gone" in result.stdout
    assert "nothing is written" in result.stdout
    assert load_config(config).or_raise().price_map == PRICE_MAP_SHA256


def test_a_newer_map_is_used_once_it_is_written(tmp_path: Path, newer: Path) -> None:
    config = written(tmp_path)
    before = load_config(config).or_raise()
    assert run("update", newer, "--config", config, "--write").exit_code == 0
    loaded = load_config(config)
    after = loaded.or_raise()
    digest = hashlib.sha256(newer.read_bytes()).hexdigest()
    assert after.price_map == digest
    assert after.version != before.version
    assert loaded.problems == ()
    price = after.deployments["a"].price
    assert price is not None
    assert price.rates(1).input == 150_000
    assert f"price map: policies/price_map.json, sha256 {digest[:12]}" in run("check", "--config", config).stdout
    again = run("update", newer, "--config", config)
    assert "of the others 0 changed, 0 new, 0 gone" in again.stdout
    (tmp_path / "policies" / "price_map.json").unlink()
    assert load_config(config).or_raise().version == before.version


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "expected LiteLLM's price map"),
        ("{", "not json"),
        ("{}", "gpt-6-luna is in use, and gone from the new map"),
        ('{"gpt-6-luna": {"input_cost_per_token": -1}}', "gpt-6-luna: a price cannot be read"),
        ('{"gpt-6-luna": {"input_cost_per_token": "much"}}', "gpt-6-luna: a price cannot be read"),
    ],
)
def test_a_map_that_would_break_something_is_not_written(tmp_path: Path, text: str, says: str) -> None:
    config, path = written(tmp_path), tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    result = run("update", path, "--config", config, "--write")
    assert result.exit_code == 1
    assert says in result.stderr
    assert not (tmp_path / "policies" / "price_map.json").exists()


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in run("update", tmp_path / "none.json", "--config", written(tmp_path)).stderr

"""`scribe-router models`: the catalogue over a real socket, the exit codes, and what the lists say."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from scribe_router import __version__
from scribe_router.cli import app
from scribe_router.config.load import load_config
from scribe_router.router import Router
from tests.support.catalogues import FREE, MODELS, NOTHING, PLAIN, RICH, listed, model
from tests.support.listing_host import hosting
from tests.support.served import served

CONFIG = """
model_list:
  - model_name: rich
    litellm_params: {model: openrouter/maker/rich, api_key: any}
  - model_name: both
    litellm_params: {model: openrouter/maker/plain, api_key: any}
    model_info: {id: plain}
  - model_name: both
    litellm_params: {model: openrouter/openrouter/auto, api_key: os.environ/NONE}
    model_info: {id: auto}
"""
SHOWN = (
    "prompt 0.25, completion 1.5, input_cache_read 0.025, input_cache_write 0.3125, request 0.005 each, "
    "image 0.001 each, web_search 0.01 each"
)
CATALOGUE = Path("policies/catalogues/openrouter.json")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "litellm_config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "policies").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def at(folder: Path, url: str) -> None:
    (folder / "policies" / "providers.yaml").write_text(
        f"openrouter: {{regions: {{global: {{api_base: {url}/api/v1}}}}}}", encoding="utf-8"
    )


def test_sync_over_the_network(folder: Path) -> None:
    pages: dict[str, bytes | int] = {
        "/api/v1/models": listed(RICH, PLAIN, following="/api/v1/models?offset=2"),
        "/api/v1/models?offset=2": listed(FREE),
    }
    with hosting(pages) as host:
        at(folder, host.url)
        before = run("sync", "openrouter", "--check")
        assert before.exit_code == 1
        assert not CATALOGUE.exists()
        first = run("sync", "openrouter")
        again = run("sync", "openrouter", "--check")
        pages["/api/v1/models"] = listed({**RICH, "pricing": {**RICH["pricing"], "prompt": "0.000001"}})
        changed = run("sync", "openrouter", "--check")
    assert first.exit_code == again.exit_code == 0
    assert first.stdout.splitlines() == [
        "new      maker/plain: prompt 2, completion 10",
        "new      maker/plain:free: free",
        f"new      maker/rich: {SHOWN}",
        f"3 models, 3 not as in {CATALOGUE}",
    ]
    assert again.stdout == f"3 models, 0 not as in {CATALOGUE}\n"
    assert changed.exit_code == 1
    assert "changed  maker/rich: prompt 0.25 -> 1\n" in changed.stdout
    assert list(json.loads(CATALOGUE.read_text())) == ["maker/plain", "maker/plain:free", "maker/rich"]
    assert set(host.agents) == {f"scribe-router/{__version__}"}
    assert host.asked[:2] == ["/api/v1/models", "/api/v1/models?offset=2"]
    assert [path.name for path in CATALOGUE.parent.iterdir()] == ["openrouter.json"]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (500, "HTTP 500"),
        (302, "HTTP 302"),
        (b"<html>", "it is not json"),
        (b'{"data": []}', "it is no list of models"),
        (b"[]", "it is no list of models"),
        (listed({"id": "m/x"}), "no model of the list can be read"),
        (listed(PLAIN, following="http://127.0.0.1:9/more"), "its next page is on another host"),
        (listed(PLAIN, following="/api/v1/models"), "it has more than 50 pages"),
    ],
)
def test_what_cannot_be_read_changes_nothing(folder: Path, page: bytes | int, said: str) -> None:
    (folder / "list.json").write_bytes(listed(RICH))
    assert run("sync", "openrouter", "--from", "list.json").exit_code == 0
    before = CATALOGUE.read_bytes()
    with hosting({"/api/v1/models": page}) as host:
        at(folder, host.url)
        result = run("sync", "openrouter")
    assert result.exit_code == 2
    assert said in result.stderr
    assert CATALOGUE.read_bytes() == before


def test_nobody_there(folder: Path) -> None:
    at(folder, "http://127.0.0.1:9")
    assert run("sync", "openrouter").exit_code == 2
    (folder / "empty.json").write_bytes(b"")
    assert run("sync", "openrouter", "--from", "empty.json").exit_code == 2
    assert run("sync", "openrouter", "--from", "nothing.json").exit_code == 2
    assert not CATALOGUE.exists()


def test_a_row_that_cannot_be_read_is_named_and_left_out(folder: Path) -> None:
    (folder / "list.json").write_bytes(listed(RICH, model("m/broken", "much")))
    result = run("sync", "openrouter", "--from", "list.json")
    assert result.exit_code == 0
    assert result.stderr == "refused  m/broken: its price for prompt is no amount: 'much'\n"
    assert list(json.loads(CATALOGUE.read_text())) == ["maker/rich"]


def test_what_came_is_shown_on_a_line_and_short(folder: Path) -> None:
    saved = folder / "saved.json"
    for name in ("before", "\ud800 after\x1b[31m\n" + "x" * 10_000):
        saved.write_bytes(listed({**PLAIN, "name": name}, {**PLAIN, "id": "\x1b[31mred\n" + "x" * 10_000}))
        ran = run("sync", "openrouter", "--from", str(saved))
    assert ran.exit_code == 0
    assert len(ran.output) < 1_000
    assert "refused  \\x1b[31mred\\nxxx" in ran.stderr
    assert "name before -> \\ud800 after\\x1b[31m\\nxxx" in ran.stdout


def test_a_provider_without_a_catalogue(folder: Path) -> None:
    result = run("sync", "openroter")
    assert (result.exit_code, result.stderr) == (2, "openroter has no catalogue, did you mean openrouter?\n")
    assert run("sync", "mistral").stderr == "mistral has no catalogue; it is kept for openrouter\n"


def test_it_heals_a_configuration_that_lacks_its_prices(folder: Path) -> None:
    limits = "limits: [{id: day, scope: all, window: day, usd: 5}]"
    (folder / "policies" / "budgets.yaml").write_text(limits, encoding="utf-8")
    (folder / "litellm_config.yaml").write_text(CONFIG.partition("  - model_name: both")[0], encoding="utf-8")
    assert "rich has no price" in CliRunner().invoke(app, ["check"]).stderr
    (folder / "list.json").write_bytes(listed(RICH))
    assert run("sync", "openrouter", "--from", "list.json").exit_code == 0
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_the_list(folder: Path) -> None:
    (folder / "list.json").write_bytes(listed(*MODELS))
    run("sync", "openrouter", "--from", "list.json")
    table = run("list").stdout.splitlines()
    assert table[0].split("  ")[0] == "model"
    assert [line.split() for line in table[1:]] == [
        [
            "rich",
            "rich",
            "openrouter",
            "200,000",
            "8,192",
            "0.25/1.5",
            "json_schema,",
            "reasoning,",
            "tools,",
            "vision",
        ],
        ["both", "plain", "openrouter", "32,768", "unknown", "2/10", "-"],
        ["both", "auto", "openrouter", "2,000,000", "unknown", "no", "price", "-", "NONE", "is", "not", "set"],
    ]
    rich, plain, auto = json.loads(run("list", "--json").stdout)
    assert rich["pricing"] == PRICING
    assert (rich["price_source"], auto["pricing"], plain["missing"]) == ("openrouter catalogue", None, None)
    assert run().stdout.splitlines()[1].split() == ["rich", "model", "rich"]


def test_prices_check_reads_it(folder: Path) -> None:
    models = [{**RICH, "expiration_date": "2020-01-31"}, NOTHING, FREE]
    config = "".join(
        f"  - model_name: m{index}\n    litellm_params: {{model: openrouter/{each['id']}, api_key: any}}\n"
        for index, each in enumerate(models)
    )
    (folder / "litellm_config.yaml").write_text(f"model_list:\n{config}", encoding="utf-8")
    (folder / "list.json").write_bytes(listed(*models))
    run("sync", "openrouter", "--from", "list.json")
    out = CliRunner().invoke(app, ["prices", "check"]).stdout.splitlines()
    assert out[2:-1] == [
        "retired: openrouter/maker/rich: its catalogue says that it ended on 2020-01-31",
        "unpriced: m1: its catalogue says 0, which is no price; its model_info can (0 if it is free)",
    ]


PRICING = {
    "prompt": "0.00000025",
    "completion": "0.0000015",
    "input_cache_read": "0.000000025",
    "input_cache_write": "0.0000003125",
    "internal_reasoning": "0.0000015",
    "request": "0.005",
    "image": "0.001",
    "web_search": "0.01",
}


def test_v1_models(folder: Path) -> None:
    (folder / "list.json").write_bytes(listed(*MODELS))
    run("sync", "openrouter", "--from", "list.json")
    router = Router(load_config(folder / "litellm_config.yaml", None, {"NONE": "set"}).or_raise())
    with served(router) as url:
        shown: dict[str, Any] = {each["id"]: each for each in httpx.get(f"{url}/v1/models").json()["data"]}
        assert httpx.get(f"{url}/v1/models/rich").json() == shown["rich"]
        assert httpx.get(f"{url}/v1/models/rick").status_code == 404
    assert shown["rich"] == {
        "id": "rich",
        "object": "model",
        "created": 0,
        "owned_by": "openrouter",
        "context_window": 200_000,
        "max_output_tokens": 8_192,
        "capabilities": ["json_schema", "reasoning", "tools", "vision"],
        "pricing": PRICING,
    }
    # Two deployments with different prices: none is told.
    assert shown["both"] == {
        "id": "both",
        "object": "model",
        "created": 0,
        "owned_by": "openrouter",
        "capabilities": [],
        "context_window": 2_000_000,
    }

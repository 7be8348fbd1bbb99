"""What a provider says that it sells, as deployments get it: price, window, output, abilities."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scribe_router.config import catalogue
from scribe_router.config.load import load_config
from scribe_router.deployment import Deployment
from scribe_router.exchange import Usage
from scribe_router.policies.prices import bound, cost, fee
from tests.support.catalogues import MODELS, RICH, Model, model
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - model_name: it
    litellm_params: {{model: openrouter/{name}, api_key: any}}
    model_info: {{{info}}}
"""


def write(folder: Path, *models: Model) -> Path:
    entries, refused = catalogue.parse(models)
    assert refused == []
    path = folder / "policies" / "catalogues" / "openrouter.json"
    catalogue.write(path, entries)
    return path


def deployment(folder: Path, name: str, info: str = "", policies: Mapping[str, str] | None = None) -> Deployment:
    return registry_from(folder, CONFIG.format(name=name, info=info), policies).deployments["it"]


def test_everything_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    rich = deployment(tmp_path, "maker/rich")
    assert (rich.window, rich.max_output, rich.default_output_cap) == (200_000, 8_192, 8_192)
    assert rich.supports == {"tools", "vision", "json_schema", "reasoning"}
    assert rich.price is not None
    assert rich.price.source == "openrouter catalogue"
    assert rich.facts_known


def test_to_the_nano_dollar(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    price = deployment(tmp_path, "maker/rich").price
    assert price is not None
    # 700 at 0.25, 200 at 0.025, 101 at 0.3125 and 53 at 1.5 USD per million, reasoning among the last; 0.005 a request.
    usage = Usage(input=1_001, output=53, cache_read=200, cache_write=101, reasoning=13)
    assert cost(price, usage) == 175_000 + 5_000 + 31_563 + 79_500 + 5_000_000
    assert bound(price, 1_000, 100) == 500_000 + 150_000  # all of it written to the cache for an hour
    assert fee(price, 2) == 25_000_000


@pytest.mark.parametrize("name", ["openrouter/auto", "maker/nothing", "maker/unknown"])
def test_no_price_is_never_zero(tmp_path: Path, name: str) -> None:
    write(tmp_path, *MODELS)
    assert deployment(tmp_path, name).price is None


def test_free_is_free_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    price = deployment(tmp_path, "maker/plain:free").price
    assert price is not None
    assert price.free


def test_what_the_deployment_says_comes_first(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    info = "input_cost_per_token: 1.0e-6, output_cost_per_token: 3.0e-6, max_input_tokens: 1000, supports_vision: false"
    found = deployment(tmp_path, "maker/rich", info)
    assert found.price is not None
    assert (found.price.source, found.window, found.max_output) == ("yaml", 1_000, 8_192)
    assert "vision" not in found.supports


def test_rows_of_prices_yaml_lie_over_it(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    rows = {"prices": "openrouter/maker/rich: {input_cost_per_token: 1.0e-6, source: a contract}"}
    found = deployment(tmp_path, "maker/rich", policies=rows)
    assert found.price is not None
    assert found.price.rates(1).input == 1_000_000
    assert found.price.rates(1).output == 1_500_000
    assert found.window == 200_000


def test_the_version_changes_with_it(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    text = CONFIG.format(name="maker/rich", info="")
    before = registry_from(tmp_path, text).version
    write(tmp_path, RICH)
    assert registry_from(tmp_path, text).version != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not json: Expecting property name"),
        ("[]", "expected a catalogue: an object of models"),
        ('{"maker/x": {}}', "maker/x cannot be read; write the catalogue anew with models sync"),
        ('{"maker/x": {"prices": {"prompt": "much"}}}', "maker/x cannot be read"),
        ('{"maker/x": {"prices": {}}}', "maker/x cannot be read"),
    ],
)
def test_a_broken_file_is_a_problem(tmp_path: Path, content: str, said: str) -> None:
    write(tmp_path, RICH).write_text(content, encoding="utf-8")
    (tmp_path / "litellm_config.yaml").write_text(CONFIG.format(name="maker/rich", info=""), encoding="utf-8")
    [problem] = load_config(tmp_path / "litellm_config.yaml").errors
    assert "catalogues/openrouter.json" in str(problem)
    assert said in problem.message


def test_a_file_of_nobody(tmp_path: Path) -> None:
    path = write(tmp_path, RICH)
    path.rename(path.with_name("openroute.json"))
    (tmp_path / "litellm_config.yaml").write_text(CONFIG.format(name="maker/rich", info=""), encoding="utf-8")
    [problem] = load_config(tmp_path / "litellm_config.yaml").problems
    assert problem.message == "no row in policies/providers.yaml has this name, did you mean openrouter?"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("text", "model 0: it has no usable id"),
        ({"id": "a b"}, "a b: it has no usable id"),
        ({"id": "x" * 201}, "it has no usable id"),
        ({"id": "m/x"}, "m/x: it has no price for prompt"),
        ({"id": "m/x", "pricing": "free"}, "m/x: its pricing is no object"),
        (model("m/x", "cheap"), "m/x: its price for prompt is no amount: 'cheap'"),
        (model("m/x", "-0.1"), "m/x: its price for prompt is no amount"),
        (model("m/x", "NaN"), "m/x: its price for prompt is no amount"),
        (model("m/x", "1e99"), "m/x: its price for prompt is no amount"),
        (model("m/x", "0.1", ""), "m/x: its price for completion is no amount"),
        (model("m/x", context_length="big"), "m/x: its context_length is no whole number"),
        (model("m/x", top_provider={"max_completion_tokens": -1}), "m/x: its max_completion_tokens is no whole number"),
        (model("m/x", supported_parameters="all"), "m/x: its supported_parameters is no list of names"),
        (model("maker/rich"), "maker/rich: it stands there twice; the first one counts"),
    ],
)
def test_refused_by_name(row: Any, said: str) -> None:
    order = [RICH, row] if isinstance(row, dict) and row["id"] == "maker/rich" else [row, RICH]
    entries, refused = catalogue.parse(order)
    assert list(entries) == ["maker/rich"]
    assert entries["maker/rich"]["prices"]["prompt"] == "0.00000025"
    [line] = refused
    assert said in line


def test_a_model_is_a_line_and_prices_stay_as_they_came() -> None:
    entries, _ = catalogue.parse(MODELS)
    text = catalogue.text(entries)
    assert json.loads(text) == entries
    lines = text.splitlines()
    assert len(lines) == len(MODELS) + 2
    assert lines[1:-1] == sorted(lines[1:-1])
    assert '"prompt": "0.00000025"' in text
    row = catalogue.row("openrouter", "maker/rich", entries["maker/rich"])
    assert row["input_cost_per_token"] == Decimal("0.00000025")
    assert "output_cost_per_reasoning_token" not in row


CHANGED = (
    "prompt 0.25 -> 0.3, input_cache_write 0.3125 -> none, request 0.005 each -> 0.006 each, context_length 200000 -> 1"
)


def test_what_changed() -> None:
    old, _ = catalogue.parse([RICH, model("m/gone"), model("m/same")])
    dearer = {**RICH["pricing"], "prompt": "0.0000003", "request": "0.006"}
    del dearer["input_cache_write"]
    new, _ = catalogue.parse(
        [{**RICH, "pricing": dearer, "context_length": 1}, model("m/new", "0", "0"), model("m/same")]
    )
    assert list(catalogue.changes(old, new)) == [
        "gone     m/gone",
        "new      m/new: free",
        f"changed  maker/rich: {CHANGED}",
    ]

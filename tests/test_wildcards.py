"""Names that only a wildcard serves: planned, priced, limited, explained and recorded as what they are."""

from datetime import date
from pathlib import Path

import pytest

from scribe_router.errors import BudgetExceeded, ModelNotFound
from scribe_router.exchange import Call
from scribe_router.explain import describe, listing
from scribe_router.facts import Facts
from scribe_router.listing import offers
from scribe_router.names import LONGEST, did_you_mean
from scribe_router.plan import Plan, Snapshot, plan
from scribe_router.receipt import Receipt
from scribe_router.registry import Registry
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.sandboxed import sandboxed
from tests.config.test_catalogue import write
from tests.support.catalogues import MODELS, PLAIN, RICH
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - model_name: openrouter/*
    litellm_params: {model: openrouter/*, api_key: any, api_base: os.environ/BASE}
  - model_name: openrouter/maker/*
    litellm_params: {model: openrouter/maker/*, api_key: any, api_base: os.environ/BASE, temperature: 0.5}
    model_info: {id: makers}
  - model_name: openrouter/near/*
    litellm_params: {model: openrouter/maker/*, api_key: any, api_base: os.environ/BASE}
  - model_name: anthropic/*
    litellm_params: {model: anthropic/*, api_key: any}
  - model_name: openrouter/maker/listed
    litellm_params: {model: openrouter/other/model, api_key: any}
  - model_name: gpt-6-luna
    litellm_params: {model: openai/gpt-6-luna, api_key: any}
router_settings:
  model_group_alias: {far: openrouter/maker/rich}
  fallbacks: [{openrouter/*: [far]}, {gpt-6-luna: [openrouter/openai/gpt-6-luna]}]
"""
ENVIRONMENT = {"BASE": "http://127.0.0.1:9/v1"}
SNAPSHOT = Snapshot(date(2026, 11, 20), 1)
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def known(tmp_path: Path) -> Registry:
    write(tmp_path, *MODELS)
    return registry_from(tmp_path, CONFIG, None, ENVIRONMENT)


def planned(registry: Registry, model: str) -> Plan:
    return plan(Facts("chat", model), registry, SNAPSHOT)


def ids(found: Plan) -> list[str]:
    return [each.deployment for each in found.candidates]


def test_a_deployment_is_made_from_the_row(known: Registry) -> None:
    [candidate] = planned(known, "anthropic/claude-sonnet-5-5").candidates
    found = known.deployment(candidate.deployment)
    assert (found.id, found.model, found.litellm_model) == ("anthropic/claude-sonnet-5-5",) * 3
    assert found.upstream_model == "claude-sonnet-5-5"
    assert found.price is not None
    assert found.price.rates(1).input == 2_000_000
    assert found.window == candidate.window == 1_000_000
    assert found.family is not None
    assert found.lane == candidate.lane == "litellm"
    assert known.deployment(candidate.deployment) is found


@pytest.mark.parametrize(
    ("model", "served"),
    [
        ("openrouter/other/model", ["openrouter/other/model", "makers/rich"]),
        ("openrouter/maker/rich", ["makers/rich"]),  # the longest pattern, and what it falls back to is itself
        ("openrouter/maker/listed", ["openrouter/maker/listed"]),  # a name of its own comes before every pattern
        ("openrouter/near/rich", ["openrouter/near/rich"]),
        ("far", ["makers/rich"]),
        ("gpt-6-luna", ["gpt-6-luna", "openrouter/openai/gpt-6-luna", "makers/rich"]),
    ],
)
def test_which_serves(known: Registry, model: str, served: list[str]) -> None:
    assert ids(planned(known, model)) == served
    for identity in served:
        assert known.deployment(identity).id == identity
    assert known.deployment(served[0]).model == known.resolve(model)


@pytest.mark.parametrize(
    "name",
    [
        *("openrouter/", "openrouter/*", "openrouter/a b", "openrouter/a@1", "openrouter/a|b", "openrouter/\n"),
        *("openrouter/" + "x" * 201, "openrouter/ä", "Openrouter/x", "nothing"),
    ],
)
def test_what_no_wildcard_serves(known: Registry, name: str) -> None:
    with pytest.raises(ModelNotFound):
        planned(known, name)
    with pytest.raises(KeyError):
        known.deployment(name)


def test_what_is_longer_than_any_name_is_compared_with_nothing() -> None:
    assert did_you_mean("a" * (LONGEST - 1), ["a" * LONGEST])
    assert did_you_mean("a" * (LONGEST + 1), ["a" * LONGEST]) == ""


def test_the_nearest_name_is_still_told(known: Registry) -> None:
    with pytest.raises(ModelNotFound, match="did you mean gpt-6-luna"):
        planned(known, "gpt-6-lunar")


@pytest.mark.parametrize(
    ("model", "served", "warning"),
    [
        # Shut down: the successor at the same provider, or where its catalogue does not have it, wherever it is.
        ("anthropic/claude-2", "anthropic/claude-sonnet-5-5", "claude-2 is served by claude-sonnet-5-5"),
        ("openrouter/openai/gpt-3.5-turbo", "gpt-6-luna", "gpt-3.5-turbo (retired 2026-10-23) is served by gpt-6-luna"),
        ("openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o", ""),  # served until 2027
    ],
)
def test_names_of_the_past(known: Registry, model: str, served: str, warning: str) -> None:
    found = planned(known, model)
    assert ids(found)[0] == served
    assert any(warning in each for each in found.warnings) == bool(warning)


def test_a_configured_name_may_end_in_a_mode(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    nitro = "openrouter/maker/rich:nitro"
    text = CONFIG.replace("far: openrouter/maker/rich", f"far: '{nitro}'")
    known = registry_from(tmp_path, text.replace("[openrouter/openai/gpt-6-luna]", f"['{nitro}']"), None, ENVIRONMENT)
    for name in ("far", "gpt-6-luna"):
        last = planned(known, name).candidates[-1]
        found = known.deployment(last.deployment)
        assert (last.mode, found.upstream_model, found.window) == ("nitro", "maker/rich", 200_000)
        assert found.price is not None
        assert found.price.rates(1).input == 250_000


def test_an_alias_is_its_own_name_whatever_it_ends_in(tmp_path: Path) -> None:
    write(tmp_path, *MODELS)
    text = CONFIG.replace("far: openrouter/maker/rich", "'openrouter/maker/listed:nitro': openrouter/maker/rich")
    known = registry_from(tmp_path, text.replace("[far]", "[gpt-6-luna]"), None, ENVIRONMENT)
    found = planned(known, "openrouter/maker/listed:nitro").candidates[0]
    assert (found.deployment, found.mode) == ("makers/rich", None)


def test_explain_says_what_the_router_does(known: Registry) -> None:
    text = describe(planned(known, "openrouter/maker/rich"), known)
    assert "openrouter/maker/rich (model)" in text
    assert "makers/rich  openrouter  wire  200,000  0.25/1.5" in text
    assert "wildcard  5 in the catalogue" in listing(known)
    assert "wildcard  whatever anthropic knows" in listing(known)


def test_models_lists_the_members_of_the_catalogue(known: Registry) -> None:
    listed = {each["id"]: each for each in offers(known)}
    assert listed["openrouter/maker/plain:free"]["context_window"] == 32_768
    assert listed["openrouter/maker/rich"]["pricing"]["prompt"] == "0.00000025"
    assert "pricing" not in listed["openrouter/openrouter/auto"]
    assert len(listed) == len(MODELS) + 4 + 3  # the maker's under two names, two models of their own and an alias


def test_litellms_own_proxy_knows_a_row_by_its_id(known: Registry) -> None:
    assert getattr(known.chosen("makers", "openrouter/maker/rich"), "id", None) == "makers/rich"
    assert getattr(known.chosen("openrouter/*", "other/model"), "id", None) == "openrouter/other/model"
    assert known.chosen("stranger", "openrouter/maker/rich") is None


def test_the_sandbox_answers_for_them(known: Registry) -> None:
    moved = sandboxed(known, "http://sandbox")
    assert moved.deployment("makers/rich").api_base == "http://sandbox/v1"
    assert moved.deployment("anthropic/claude-sonnet-5-5").api_base == "http://sandbox/anthropic"


LIMITED = CONFIG.replace("openrouter/other/model,", "openrouter/maker/plain,")
LIMIT = {"budgets": "limits: [{id: day, scope: model, window: day, usd: 1}]"}


@pytest.mark.asyncio(loop_scope="session")
async def test_served_and_recorded(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, RICH, PLAIN)
    async with Router(registry_from(tmp_path, LIMITED, LIMIT, {"BASE": f"{sandbox.url}/v1"})) as built:
        await served_and_recorded(built, sandbox)


async def served_and_recorded(built: Router, sandbox: Sandbox) -> None:
    answer = await built.serve(Call("chat", {"model": "openrouter/maker/rich", "messages": HELLO}))
    receipt = Receipt.of(answer.exchange)
    assert (receipt.model, receipt.deployment, receipt.provider) == ("maker/rich", "makers/rich", "openrouter")
    [received] = sandbox.received
    assert (received.json["model"], received.json["temperature"]) == ("maker/rich", 0.5)
    await built.ledger.flush()
    [row] = await built.ledger.rows()
    assert (row["model"], row["model_name"]) == ("openrouter/maker/rich", "openrouter/maker/rich")
    assert [name for name in await built.ledger.counters() if "model:openrouter/maker/rich" in name]
    with pytest.raises(BudgetExceeded, match="openrouter/other/model has no price, so limit day cannot bound its cost"):
        await built.serve(
            Call("chat", {"model": "openrouter/other/model", "messages": HELLO, "fallback_enabled": False})
        )
    assert len(sandbox.received) == 1

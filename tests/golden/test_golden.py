"""Every request of the table arrives at its provider's true host as it is written there, on both lanes."""

import fcntl
import json
from collections.abc import Callable
from typing import Any

import pytest

from scribe_router.exchange import Json
from scribe_router.policies.reasoning import LEVELS, ReasoningKnowledge
from tests.golden.cases import Case, levels, written
from tests.golden.collect import Arrived, collected, rows
from tests.golden.rules import RULES, compared

pytestmark = pytest.mark.timeout(700)  # the first test waits until everything has been asked
WRITTEN, LEVELS_OF = written(), levels()
FIRST = {case.provider: case.model for case in reversed(LEVELS_OF)}.values()  # of each provider, one model


def always(case: Case) -> bool:
    """Whether a case belongs to the tests that run by default: what is written, and each provider's levels once."""
    return not case.says or (case.model in FIRST and not case.ask.get("stream"))


ALWAYS = [case for case in (*LEVELS_OF, *WRITTEN) if always(case)]
OTHERS = [case for case in LEVELS_OF if not always(case)]


def once(factory: pytest.TempPathFactory, cases: str) -> Arrived:
    """What arrived; several workers of one run collect it once."""
    shared = factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    folder = shared / cases
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = folder / "arrived.json"
        if not known.exists():
            return collected(folder, [case.name for case in (ALWAYS if cases == "golden" else OTHERS)])
        found: Arrived = json.loads(known.read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="session")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    return once(tmp_path_factory, "golden")


@pytest.fixture(scope="session")
def arrived_levels(tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    return once(tmp_path_factory, "golden-levels")


def sent(arrived: Arrived, case: Case, lane: str) -> Any:
    """The one request of a case on a lane."""
    said = arrived[case.name][lane]
    assert said["refused"] is None
    [request] = said["requests"]
    return request


def lanes(case: Case) -> tuple[str, ...]:
    """Those that can carry it: OpenAI's format travels on both, but for its Responses API and text completions."""
    if case.api == "completions":
        return ("wire",)
    speaks = rows("providers").get(case.provider, {}).get("wire") == "openai"
    return ("wire", "litellm") if speaks and not case.sends["path"].endswith("/responses") else ("litellm",)


@pytest.mark.parametrize("case", ALWAYS, ids=lambda case: case.name[:80])
def test_what_arrives(arrived: Arrived, case: Case) -> None:
    as_written(arrived, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.name[:80])
def test_what_arrives_at_every_level(arrived_levels: Arrived, case: Case) -> None:
    as_written(arrived_levels, case)


@pytest.mark.slow
def test_nothing_else_leaves_at_every_level(arrived_levels: Arrived) -> None:
    test_nothing_else_leaves(arrived_levels)


def as_written(arrived: Arrived, case: Case) -> None:
    for lane in lanes(case):
        assert compared(sent(arrived, case, lane)) == case.sends, lane
        assert arrived[case.name][lane]["says"] in (case.says or (arrived[case.name][lane]["says"],))


# -- what the table has to hold

FAMILIES = ReasoningKnowledge.model_validate(rows("reasoning"))
FACTS = {1, 2, *range(5, 15), 16, 19, 20}  # of the providers, that a request shows
OLDER = {"ollama"}  # /api/generate; ollama_chat took its place
FEATURES: dict[str, Callable[[Json], Any]] = {
    "a stream": lambda ask: ask.get("stream"),
    "tools": lambda ask: ask.get("tools"),
    "an image": lambda ask: "image_url" in json.dumps(ask.get("messages", "")),
    "a schema": lambda ask: ask.get("response_format"),
    "what others thought": lambda ask: "thinking_blocks" in json.dumps(ask.get("messages", "")),
}


def test_many_models_of_many_providers() -> None:
    assert len({case.name for case in WRITTEN}) == len(WRITTEN)
    assert len({case.model for case in WRITTEN}) >= 40
    assert len({case.provider for case in WRITTEN}) >= 12


@pytest.mark.parametrize("name", FAMILIES.root)
def test_each_family_has_every_level(name: str) -> None:
    family = FAMILIES.root[name]
    told = {
        case.ask.get("reasoning_effort") for case in LEVELS_OF if FAMILIES.family(*case.model.split("/", 1)) is family
    }
    assert set(LEVELS) <= told


@pytest.mark.parametrize("name", sorted(rows("providers").keys() - OLDER))
def test_each_provider_has_every_region_and_feature(name: str) -> None:
    own = [case for case in WRITTEN if case.provider == name]
    row = rows("providers")[name]
    assert {case.info.get("region", row.get("default_region")) for case in own} >= set(row["regions"])
    assert [feature for feature, has in FEATURES.items() if not any(has(case.ask) for case in own)] == []


def test_each_fact_of_a_request_has_a_case() -> None:
    assert {case.fact for case in WRITTEN} - {None} == FACTS


def test_the_rules_are_few_and_each_is_needed(arrived: Arrived) -> None:
    assert len(RULES) <= 10
    requests = [each for ways in arrived.values() for said in ways.values() for each in said["requests"]]
    for rule in RULES:
        after = [dict(each) for each in requests]
        for each in after:
            rule.take(each)
        assert after != requests, rule.reason


def test_nothing_else_leaves(arrived: Arrived) -> None:
    """Neither for a price map nor for a tokenizer, and no request twice."""
    for name, ways in arrived.items():
        for lane, said in ways.items():
            assert len(said["requests"]) == (said["refused"] is None), (name, lane)

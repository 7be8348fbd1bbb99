"""Every door and both lanes say the same: answers, errors and rows, plain and in streams."""

from typing import Any

import pytest

from tests.parity.cases import ANSWERS, CASES, MESSAGES, Case
from tests.parity.doors import Choice, Said, Tokens
from tests.parity.stage import DOORS, LANES, Stage

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def everywhere(stage: Stage, body: dict[str, Any]) -> dict[tuple[str, str], Said]:
    """What each door says over each lane, the names of the models made alike."""
    said = {(door, lane): stage.ask(door, lane, body) for door in DOORS for lane in LANES}
    for (_, lane), each in said.items():
        assert each.models == ({f"{lane}/{body['model']}"} if each.choices else set())
    return said


def alike(said: dict[tuple[str, str], Said]) -> Said:
    """What all said; the model's name is the only thing that may differ."""
    first, *others = said.values()
    for way, other in zip(list(said)[1:], others, strict=True):
        assert (other.choices, other.tokens, other.error, other.row) == (
            first.choices,
            first.tokens,
            first.error,
            first.row,
        ), way
    return first


def tokens(case: Case) -> Tokens | None:
    if case.tokens is None:
        return None
    thoughts = len((case.reasoning or "").split())
    return Tokens(*case.tokens, sum(case.tokens), case.cached, thoughts)


def cost(case: Case, bound: int) -> int:
    """At 1, 2 and 0.1 USD per million tokens, in nano-dollars."""
    if case.tokens is None:
        return bound
    return (case.tokens[0] - case.cached) * 1000 + case.tokens[1] * 2000 + case.cached * 100


def answer(case: Case) -> tuple[Choice, ...]:
    return (Choice(case.content, case.reasoning, case.calls, None, case.finish),) * case.choices


@every_case
def test_plain(stage: Stage, case: Case) -> None:
    said = alike(everywhere(stage, {"model": case.model, "messages": MESSAGES, **case.extra}))
    assert said.error == case.error
    if case.error:
        assert said.choices == ()
        assert (said.row.outcome, said.row.mark) == case.row
    else:
        assert said.choices == answer(case)
        assert said.tokens == tokens(case)
        assert (said.row.outcome, said.row.mark) == ("answered", case.mark)
        assert said.row.cost == cost(case, said.row.bound)


@every_case
def test_stream(stage: Stage, case: Case) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    said = alike(everywhere(stage, {"model": case.model, "messages": MESSAGES, **options, **case.extra}))
    if case.interrupted is not None:
        assert [choice.content for choice in said.choices] == [case.interrupted]
        assert said.error == (502, "upstream_error", "stream_interrupted")
        assert (said.row.outcome, said.row.mark) == case.stream_row
    elif case.stream_error:
        assert said.error == case.stream_error
        assert (said.row.outcome, said.row.mark) == case.stream_row
    else:
        assert said.error is None
        assert said.choices == answer(case)
        assert said.tokens == tokens(case)
        assert (said.row.outcome, said.row.mark) == ("answered", case.mark)
        assert said.row.cost == cost(case, said.row.bound)


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.name)
def test_usage_is_shown_only_when_asked_for(stage: Stage, case: Case) -> None:
    said = alike(everywhere(stage, {"model": case.model, "messages": MESSAGES, "stream": True, **case.extra}))
    assert said.tokens is None
    assert said.row.cost == cost(case, said.row.bound)

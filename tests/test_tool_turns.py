"""Rounds of a request with MCP tools, put together: what a stream shows is what the plain answer says."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scribe_router.exchange import Json
from scribe_router.tools.turns import Screen, joined, total, turn_of
from scribe_router.upstream.assembly import Assembly

OURS = ("box__web", "box__files")
WORDS = st.text("ab c", max_size=4)
NUMBERS = st.integers(0, 1000)
IDS = st.sampled_from(["x", "y"])
USAGE = st.builds(
    lambda a, b, cached: {
        "prompt_tokens": a,
        "completion_tokens": b,
        "prompt_tokens_details": {"cached_tokens": cached},
    },
    *(NUMBERS, NUMBERS, NUMBERS),
)
THOUGHT: st.SearchStrategy[Json] = st.builds(
    lambda text: {"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": "s"}]}, WORDS
)
CITED: st.SearchStrategy[Json] = st.builds(lambda text: {"annotations": [{"type": "url_citation", "url": text}]}, WORDS)


def call(index: int, name: str, parts: list[str]) -> list[Json]:
    """The deltas of one call: its name comes with the first part alone."""
    first = {"index": index, "id": f"c-{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": part}} for part in parts]
    return [{"tool_calls": [each]} for each in (first, *rest)]


def text(name: str) -> st.SearchStrategy[list[Json]]:
    return st.lists(WORDS, max_size=3).map(lambda parts: [{name: part} for part in parts])


@st.composite
def one_round(draw: st.DrawFn, names: st.SearchStrategy[list[str]]) -> list[Json]:
    """The chunks of a round: each kind of delta in its own order, all of them mixed."""
    threads: list[list[Json]] = [draw(text("content")), draw(text("reasoning_content"))]
    threads += [draw(st.lists(THOUGHT, max_size=2)), draw(st.lists(CITED, max_size=2))]
    threads += [call(index, name, draw(st.lists(WORDS, max_size=3))) for index, name in enumerate(draw(names))]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    while left := [thread for thread in threads if thread]:
        deltas.append(draw(st.sampled_from(left)).pop(0))
    chunks: list[Json] = [
        {"id": draw(IDS), "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": d}]} for d in deltas
    ]
    for chunk in draw(st.lists(st.sampled_from(chunks), max_size=3)):
        chunk["usage"] = draw(USAGE)
    chunks[-1]["choices"][0]["finish_reason"] = draw(st.sampled_from(["stop", "length", "tool_calls"]))
    return [*chunks, {"id": "u", "object": "chat.completion.chunk", "choices": [], "usage": draw(USAGE)}]


NOTHING_BUT_OURS = st.lists(st.sampled_from(OURS), min_size=1, max_size=3)
ANYTHING = st.lists(st.sampled_from((*OURS, "mine", "yours")), max_size=3)


def whole(chunks: list[Json]) -> Json:
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.answer()


def said(answer: Json) -> tuple[Any, ...]:
    [choice] = answer["choices"]
    message = {name: value for name, value in choice["message"].items() if value}
    return answer["usage"], choice["finish_reason"], message


@given(st.lists(one_round(NOTHING_BUT_OURS), max_size=3), one_round(ANYTHING))
def test_a_stream_shows_what_the_plain_answer_says(earlier: list[list[Json]], last: list[Json]) -> None:
    rounds, screen = [*earlier, last], Screen(OURS)
    shown: list[Json] = []
    for chunks in rounds:
        screen.begin()
        for chunk in chunks:
            shown += screen.see(chunk)
    before = whole(shown)["choices"]
    assert not any(
        each["function"]["name"] in OURS for choice in before for each in choice["message"].get("tool_calls") or ()
    ), "a call of ours is shown at the end alone, where it is the caller's to make"
    shown += screen.end()
    assert said(whole(shown)) == said(joined([whole(chunks) for chunks in rounds]))
    assert len({chunk["id"] for chunk in shown}) == 1
    roles = [choice["delta"]["role"] for chunk in shown for choice in chunk["choices"] if "role" in choice["delta"]]
    assert len(roles) <= 1
    ends = [place for place, chunk in enumerate(shown) if any(each.get("finish_reason") for each in chunk["choices"])]
    assert ends == [len(shown) - 2], "one end, and the usage after it"


def test_usage_is_that_of_all_rounds() -> None:
    usages: list[Mapping[str, Any]] = [
        {"a": 1, "b": {"c": 2}, "tier": "x", "d": None},
        {"a": 10, "b": None, "tier": "y", "e": True},
        {"b": {"c": 5}},
    ]
    assert total(usages) == {"a": 11, "b": {"c": 7}, "tier": "y", "d": None, "e": True}


def wished(*ids: str | None) -> Json:
    calls = [{"type": "function", "function": {"name": OURS[0], "arguments": "{}"}, "id": each} for each in ids]
    calls = [{name: value for name, value in each.items() if value is not None} for each in calls]
    return {"choices": [{"message": {"role": "assistant", "tool_calls": calls}}]}


@pytest.mark.parametrize(
    ("ids", "given"),
    [
        (("a", "b"), ["a", "b"]),
        (("a", "a"), ["call_0", "call_1"]),
        (("a", None), ["call_0", "call_1"]),
        ((None,), ["call_0"]),
        (("", "b"), ["call_0", "call_1"]),
    ],
)
def test_every_call_has_an_id_of_its_own(ids: tuple[str | None, ...], given: list[str]) -> None:
    turn = turn_of(wished(*ids), OURS)
    assert turn is not None
    assert [wish.id for wish in turn.wishes] == given
    assert [each["id"] for each in turn.message["tool_calls"]] == given, "the model reads the same ids"


@pytest.mark.parametrize(
    "calls",
    [
        None,
        [],
        [{"id": "a", "function": {"name": "mine"}}],
        [{"id": "a", "function": {"name": OURS[0]}}, {"id": "b", "function": {"name": "mine"}}],
        [{"id": "a", "custom": {"name": OURS[0]}}],
        [{"id": "a", "function": None}],
        ["no call"],
    ],
)
def test_what_is_not_ours_alone_is_the_callers(calls: Any) -> None:
    assert turn_of({"choices": [{"message": {"tool_calls": calls}}]}, OURS) is None
    assert turn_of({"choices": []}, OURS) is None

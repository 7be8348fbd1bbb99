"""Putting an answer together from its parts gives the answer back, however it was taken apart."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scribe_router.exchange import AttemptFailed, Json
from scribe_router.upstream.assembly import WHOLE, Assembly

TEXT = st.text(min_size=1, max_size=12)
SIMPLE = st.one_of(st.booleans(), st.integers(), TEXT)
NAMES = st.sampled_from(["audio", "annotations", "vendor", "more"])
UNKNOWN = st.dictionaries(
    NAMES, st.recursive(SIMPLE, lambda inner: st.dictionaries(TEXT, inner, max_size=2)), max_size=2
)
CALL = st.fixed_dictionaries(
    {"id": TEXT, "type": st.just("function"), "function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT})}
)
DETAIL = st.fixed_dictionaries({"type": st.just("reasoning.text"), "text": TEXT, "signature": TEXT, "format": TEXT})
MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    optional={
        "reasoning_content": TEXT,
        "reasoning": TEXT,
        "refusal": TEXT,
        "tool_calls": st.lists(CALL, min_size=1, max_size=3),
        "reasoning_details": st.lists(DETAIL, min_size=1, max_size=2).map(
            lambda details: [{**detail, "index": index} for index, detail in enumerate(details)]
        ),
    },
)
TOKEN = st.fixed_dictionaries({"token": TEXT, "logprob": st.integers(), "bytes": st.lists(st.integers(), max_size=3)})
LOGPROBS = st.fixed_dictionaries({"content": st.lists(TOKEN, min_size=1, max_size=4)}, optional={"refusal": st.none()})
CHOICE = st.builds(
    lambda message, unknown, rest: {"message": {**message, **unknown}, **rest},
    MESSAGE,
    UNKNOWN,
    st.fixed_dictionaries(
        {"finish_reason": st.sampled_from(["stop", "length", "tool_calls"])},
        optional={"logprobs": LOGPROBS, "stop_reason": TEXT, "content_filter_results": st.dictionaries(TEXT, SIMPLE)},
    ),
)
ANSWER = st.fixed_dictionaries(
    {
        "id": TEXT,
        "object": st.just("chat.completion"),
        "created": st.integers(1),
        "model": TEXT,
        "choices": st.lists(CHOICE, min_size=1, max_size=3).map(
            lambda choices: [{"index": index, **choice} for index, choice in enumerate(choices)]
        ),
        "usage": st.fixed_dictionaries({"prompt_tokens": st.integers(1), "completion_tokens": st.integers(0)}),
    },
    optional={"service_tier": TEXT, "system_fingerprint": TEXT, "citations": st.lists(TEXT)},
)


def pieces(value: Any, dice: random.Random, name: str = "") -> list[Any]:
    """A value in parts, as a provider would stream it."""
    if isinstance(value, str) and name not in WHOLE:
        cuts = sorted(dice.sample(range(len(value) + 1), dice.randint(0, min(3, len(value)))))
        return [value[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(value)], strict=True)]
    if isinstance(value, dict):
        parts = [{key: part} for key, inner in value.items() for part in pieces(inner, dice, key)]
        return parts or [value]
    return [value]


def calls(listed: list[Json], dice: random.Random) -> list[Json]:
    """Parts of a list whose members have an index, each part in a list of its own; those of two may be interleaved."""
    parts = [[{"index": index, **part} for part in pieces(each, dice)] for index, each in enumerate(listed)]
    found = []
    while any(parts):
        found.append([dice.choice([each for each in parts if each]).pop(0)])
    return found  # type: ignore[return-value]


def deltas(message: Json, dice: random.Random) -> list[Json]:
    found: list[Json] = [{"role": "assistant", "content": None}]
    for name, value in message.items():
        indexed = name in ("tool_calls", "reasoning_details")
        found += [{name: part} for part in (calls(value, dice) if indexed else pieces(value, dice, name))]
    return found


def streamed(answer: Json, dice: random.Random) -> list[Json]:
    """The chunks of an answer: those of its choices in turn, then what is known at the end."""
    head = {name: answer[name] for name in answer if name not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    parts: list[list[Json]] = []
    for choice in answer["choices"]:
        parts.append([{"index": choice["index"], "delta": each, "finish_reason": None, "logprobs": None}
                      for each in deltas(choice["message"], dice)])  # fmt: skip
        for token in choice.get("logprobs", {}).get("content", ()):
            parts[-1].append({"index": choice["index"], "delta": {}, "logprobs": {"content": [token]}})
        if "refusal" in choice.get("logprobs", {}):
            parts[-1].append({"index": choice["index"], "delta": {}, "logprobs": {"refusal": None}})
        rest = {name: value for name, value in choice.items() if name not in ("message", "logprobs")}
        parts[-1].append({**rest, "delta": {}})
    chunks = []
    while any(parts):
        chunks.append({**head, "choices": [dice.choice([each for each in parts if each]).pop(0)], "usage": None})
    return [*chunks, {**head, "choices": [], "usage": answer["usage"]}, {}]


def put_together(chunks: list[Json]) -> Json:
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.answer()


@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
@given(ANSWER, st.integers())
def test_an_answer_in_parts_is_the_answer(answer: Json, seed: int) -> None:
    whole = put_together(streamed(answer, random.Random(seed)))
    without = [{name: choice[name] for name in choice if choice[name] is not None} for choice in whole["choices"]]
    assert {**whole, "choices": without} == answer


def delta(**fields: Any) -> Json:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields}]}


def call(**fields: Any) -> Json:
    return delta(tool_calls=[fields])


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([delta(content="")], {"content": ""}),
        ([delta(content=None), delta(content="a"), delta(content=None), delta(content="b")], {"content": "ab"}),
        ([delta(role="assistant", content="a"), delta(role="assistant", content="b")], {"content": "ab"}),
        (
            [call(index=0, id="c", function={"name": "f", "arguments": ""}),
             call(index=0, id="", function={"name": "", "arguments": "{"}),
             call(index=0, function={"name": None, "arguments": "}"})],
            {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
        ),
        (
            [call(id="a", function={"arguments": "1"}), call(id="b", function={"arguments": "2"})],
            {"tool_calls": [{"id": "a", "function": {"arguments": "1"}}, {"id": "b", "function": {"arguments": "2"}}]},
        ),
        ([delta(annotations=[{"a": 1}]), delta(annotations=[{"a": 2}])], {"annotations": [{"a": 1}, {"a": 2}]}),
        ([delta(images=["x"]), delta(images=["y"])], {"images": ["x", "y"]}),
        ([delta(audio={"id": "1", "data": "ab"}), delta(audio={"id": "1", "data": "cd", "expires_at": 5})],
         {"audio": {"id": "1", "data": "abcd", "expires_at": 5}}),
        ([delta(score=1), delta(score=2)], {"score": 2}),
    ],
)  # fmt: skip
def test_what_providers_do(chunks: list[Json], message: Json) -> None:
    expected = {"role": "assistant", "content": None, **message}
    assert put_together(chunks) == {"object": "chat.completion", "choices": [{"index": 0, "message": expected}]}


@pytest.mark.parametrize("chunk", [{"choices": [5]}, {"choices": 5}, {"choices": [{"index": "x"}]}])
def test_what_is_no_chunk(chunk: Json) -> None:
    with pytest.raises(AttemptFailed, match="no chunk of an answer"):
        Assembly().add(chunk)


@pytest.mark.parametrize("other", [5, ["part"], {"a": 1}])
def test_a_text_goes_on_as_text(other: Any) -> None:
    assembly = Assembly()
    assembly.add(delta(content="a"))
    with pytest.raises(AttemptFailed, match="no chunk of an answer"):
        assembly.add(delta(content=other))


def test_signed_thinking_goes_on_until_its_signature() -> None:
    """As LiteLLM hands it over: blocks without an index."""
    assembly = Assembly()
    for block in (
        {"thinking": "one "},
        {"thinking": "two"},
        {"thinking": "", "signature": "s1"},
        {"thinking": "three"},
    ):
        assembly.add(delta(thinking_blocks=[{"type": "thinking", **block}]))
    assembly.add(delta(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "s2"}]))
    assembly.add(delta(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}]))
    assert assembly.answer()["choices"][0]["message"]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "one two", "signature": "s1"},
        {"type": "thinking", "thinking": "three", "signature": "s2"},
        {"type": "redacted_thinking", "data": "x"},
    ]

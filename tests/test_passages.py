"""Texts in parts: redacted as they would be whole, restored wherever a placeholder is cut; chunks of streams."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scribe_router.exchange import Json
from scribe_router.passages import Chunks, Redacting, Restoring, redacting, restoring
from scribe_router.patterns import KINDS
from scribe_router.patterns.spans import matching
from scribe_router.patterns.unfinished import LONGEST
from scribe_router.redaction import Mask
from tests.patterns.labelled import lines
from tests.support.examples import examples

KEY = b"0123456789abcdef"
TEXTS = [line.text for line in lines()]
OWN = ("employee", (matching(r"EMP[- ]\d{6}(?!\d)"),))
KINDS_AND_OWN = (OWN, *KINDS.items())
CARD = "4111 1111 1111 1111"


def mask(*kinds: str) -> Mask:
    wanted = [each for each in KINDS_AND_OWN if not kinds or each[0] in kinds]
    return Mask(tuple(wanted), KEY, 12 if OWN in wanted else 0)


def parted(text: str, sizes: list[int]) -> list[str]:
    parts, at = [], 0
    for number in range(len(text)):
        if at >= len(text):
            break
        parts.append(text[at : at + sizes[number % len(sizes)]])
        at += sizes[number % len(sizes)]
    return parts


def pushed(passage: Redacting | Restoring, parts: list[str]) -> list[str]:
    return [*(passage.push(part) for part in parts), passage.push("", last=True)]


texts = st.lists(st.sampled_from([*TEXTS, "EMP 123456", "EMP-12345678", " ", "x"]), min_size=1, max_size=5)
joints = st.sampled_from(["\n", " ", ", ", "", "\uff1a", '"', "é", "密"])


@settings(max_examples=examples(150), deadline=None)
@given(texts, joints, st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from([(), *KINDS, "employee"]))
@example(["password=b00t-It-Up", "x"], "\uff1a", [1], "password")
@example(["https://ann:pé", "-0!word@example.com"], "é", [1], "password")
@example(["-u ann:pé", "-0!word"], "é", [1], "password")
def test_in_parts_as_whole(chosen: list[str], joint: str, sizes: list[int], only: Any) -> None:
    text, kinds = joint.join(chosen), (only,) if only else ()
    assert "".join(pushed(Redacting(mask(*kinds)), parted(text, sizes))) == mask(*kinds).text(text)


@pytest.mark.parametrize("only", list(KINDS))
def test_each_labelled_line_letter_by_letter(only: str) -> None:
    for text in TEXTS:
        assert "".join(pushed(Redacting(mask(only)), list(text))) == mask(only).text(text)


def test_only_what_may_be_a_beginning_is_held_back() -> None:
    whole = mask("card").stand_in("card", CARD)
    parts = ["hello ", "world, ", "it is 41", "11 1111 ", "1111 1111", " yes", ", so"]
    assert pushed(Redacting(mask("card")), parts) == ["hello", " world,", " it is", "", "", f" {whole} ", "yes, ", "so"]
    assert pushed(Redacting(mask("card")), ["你好", "世界"]) == ["你好", "世界", ""]


def test_what_is_held_back_is_bounded() -> None:
    passage = Redacting(mask())
    for _ in range(400):
        passage.push("4" * 100)
        assert len(passage.held) <= LONGEST
    assert len(passage.push("", last=True)) <= LONGEST


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans())
def test_a_placeholder_is_put_back_wherever_it_is_cut(sizes: list[int], within_json: bool) -> None:
    secrets = {"[card:abcdefghij]": CARD, "[password:abcdefghij]": 'a"b\nc', "j***@x.io": "joe@x.io"}
    text = "[card: [card:abcdefghij] [[password:abcdefghij]], j***@x.ioj***@x.i [card:abc"
    word = 'a\\"b\\nc' if within_json else 'a"b\nc'
    parts = pushed(Restoring(secrets, within_json=within_json), parted(text, sizes))
    assert "".join(parts) == f"[card: {CARD} [{word}], joe@x.ioj***@x.i [card:abc"


def delta(index: int = 0, finish: str | None = None, **said: Any) -> Json:
    return {"id": "c", "choices": [{"index": index, "delta": said, "finish_reason": finish}]}


def said(chunks: list[Json], *path: Any, index: int = 0) -> str:
    text = ""
    for chunk in chunks:
        for choice in chunk["choices"]:
            value: Any = choice if choice["index"] == index else {}
            for step in path:
                value = value.get(step) if isinstance(value, dict) else next(iter(value or ()), None)
            text += value or ""
    return text


def through(edit: Chunks | None, *chunks: Json) -> list[Json]:
    assert edit is not None
    shown = [edit.chunk(chunk) for chunk in chunks]
    rest = edit.rest()
    assert edit.rest() is None
    return [*shown, *([rest] if rest else [])]


def test_every_text_of_a_stream_is_one_passage() -> None:
    call = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"pan": "4111 1111'},
    }
    more = {"index": 0, "function": {"arguments": ' 1111 1111"}'}}
    shown = through(
        redacting(mask("card")),
        delta(role="assistant", reasoning_content="it is 4111 1111 "),
        delta(reasoning_content="1111 1111"),
        delta(content="4111 1111 1111"),
        delta(1, content=CARD),
        delta(content=" 1111 "),
        delta(tool_calls=[call]),
        delta(tool_calls=[more]),
        delta(finish="tool_calls"),
        delta(1, "stop"),
        {"choices": [], "usage": {"n": 1}},
    )
    for path in (("reasoning_content",), ("content",), ("tool_calls", 0, "function", "arguments")):
        text = said(shown, "delta", *path)
        assert re.search(r"\[card:[a-p]{10}\]", text), path
        assert "1111" not in text
    assert said(shown, "delta", "content", index=1).startswith("[card:")
    assert said(shown, "delta", "tool_calls", 0, "id") == "call_1"
    assert shown[2]["choices"][0]["delta"]["reasoning_content"].startswith(" [card:")  # before what comes after it
    assert shown[-1] == {"choices": [], "usage": {"n": 1}}


def test_what_is_held_back_at_the_end_is_a_chunk_of_its_own() -> None:
    shown = through(redacting(mask("card")), delta(content=CARD))
    assert shown[-1]["id"] == "c"
    assert said(shown[1:], "delta", "content").startswith("[card:")
    completion = {"choices": [{"index": 0, "text": CARD, "finish_reason": None}]}
    shown = through(redacting(mask("card")), completion)
    assert (said(shown, "text")[:6], "delta" in shown[-1]["choices"][0]) == ("[card:", False)


def test_probabilities_of_tokens_spell_the_answer() -> None:
    weighed = {"choices": [{"index": 0, "delta": {"content": "4111 "}, "logprobs": {"content": [{"token": "4111"}]}}]}
    assert "4111" not in str(through(redacting(mask("card")), weighed)[0])
    assert "4111" in str(through(restoring({"[card:x]": CARD}), weighed)[0]["choices"][0]["logprobs"])


def test_strange_chunks_pass() -> None:
    for chunk in ({}, {"choices": None}, {"choices": ["x"]}, {"choices": [{"delta": None, "finish_reason": "stop"}]}):
        assert through(redacting(mask()), chunk) == [chunk]
    listed = delta(content=[{"type": "text", "text": f"{CARD} "}])
    assert "[card:" in str(through(redacting(mask("card")), listed))
    assert redacting(None) is None
    assert restoring({}) is None

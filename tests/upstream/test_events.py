"""When a stream commits, whether it is complete, what it used, and what of it a client sees."""

from typing import Any

import pytest

from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.upstream.events import DONE, StreamReader, completed, for_client, only_usage

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta or {}, "finish_reason": finish}], **more}


def reader(*chunks: dict[str, Any], expected: int = 1) -> StreamReader:
    read = StreamReader(expected)
    for each in chunks:
        read.see(each)
    return read


@pytest.mark.parametrize(
    ("delta", "commits"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": "", "refusal": None, "tool_calls": []}, False),
        ({"content": "a"}, True),
        ({"content": " "}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning": "a"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
        ({"refusal": "no"}, True),
        ({"images": [{"url": "u"}]}, True),
    ],
)
def test_the_first_content_commits(delta: dict[str, Any], *, commits: bool) -> None:
    assert reader(chunk(delta)).committed is commits


def test_complete() -> None:
    assert not reader(chunk({"content": "a"})).complete
    assert reader(chunk(finish="stop")).complete
    assert reader(chunk({"content": "a"}), DONE).complete
    assert not reader(chunk(finish="stop"), expected=2).complete
    assert not reader(chunk(finish="stop"), chunk(finish="stop"), expected=2).complete
    assert reader(chunk(finish="stop"), chunk(finish="length", index=1), expected=2).complete
    assert not reader({"id": "c"}, {"choices": None}).complete


def test_the_last_usage_counts() -> None:
    assert reader(chunk({"content": "a"})).usage is None
    assert reader(chunk(usage=None), chunk(usage={})).usage is None
    assert reader(chunk(usage={"prompt_tokens": 1}), {"choices": [], "usage": USAGE}, DONE).usage == USAGE


def test_usage_is_for_those_who_asked() -> None:
    alone = {"id": "c", "choices": [], "usage": USAGE}
    assert only_usage(alone)
    assert for_client(alone, "m", wants_usage=False) is None
    assert for_client(alone, "m", wants_usage=True) == {**alone, "model": "m"}
    padded = {**chunk({"content": ""}), "usage": USAGE}
    assert for_client(padded, "m", wants_usage=False) is None
    assert for_client(padded, "m", wants_usage=True) == {"id": "c", "model": "m", "choices": [], "usage": USAGE}


def test_usage_beside_the_finish_leaves_the_finish() -> None:
    both = chunk(finish="stop", usage=USAGE)
    assert not only_usage(both)
    assert for_client(both, "m", wants_usage=False) == {**chunk(finish="stop"), "model": "m"}
    assert for_client(both, "m", wants_usage=True) == {**both, "model": "m"}
    assert "usage" in both


@pytest.mark.parametrize(
    "strange",
    [{"choices": [None]}, {"choices": 5}, {"choices": [{"delta": "text"}]}, {"choices": ["a"]}, {"choices": [[1]]}],
)
def test_what_is_no_chunk_breaks_the_stream(strange: dict[str, Any]) -> None:
    with pytest.raises(AttemptFailed) as raised:
        reader(chunk({"content": "a"}), strange)
    assert (raised.value.category, raised.value.reached) == (Category.STREAM, Reached.STREAMED)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"text": "as it came", "logprobs": {"tokens": []}}, "as it came"),
        ({"message": {"role": "assistant", "content": "whole"}}, "whole"),
        ({"message": {"content": None, "tool_calls": None}}, ""),
        ({"message": {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}}, "in parts"),
        ({"delta": {"role": "assistant", "content": ""}}, ""),
        ({"delta": {"content": "piece"}, "finish_reason": "stop"}, "piece"),
    ],
)
def test_a_chats_shape_becomes_that_of_a_text(choice: dict[str, Any], text: str) -> None:
    answer = completed({"object": "chat.completion", "id": "c", "choices": [{"index": 1, **choice}]})
    kept = {name: value for name, value in choice.items() if name not in ("message", "delta")}
    assert answer["choices"] == [{"index": 1, "logprobs": None, **kept, "text": text}]
    assert (answer["object"], answer["id"]) == ("text_completion", "c")


def test_a_text_commits_and_an_empty_one_is_silent() -> None:
    assert not reader({"choices": [{"index": 0, "text": ""}]}).committed
    assert reader({"choices": [{"index": 0, "text": "a"}]}).committed
    assert only_usage({"choices": [{"index": 0, "text": ""}], "usage": USAGE})
    assert not only_usage({"choices": [{"index": 0, "text": "a"}], "usage": USAGE})
    counting = StreamReader(counting=True)
    counting.see({"choices": [{"index": 0, "text": "abc"}]})
    assert counting.streamed >= len("abc")

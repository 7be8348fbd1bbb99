"""Server-sent events come out whole, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scribe_router.upstream import sse
from scribe_router.upstream.sse import EventParser, EventTooLarge

STREAM = (
    b": a comment\n\n"
    b'data: {"a": 1}\n\n'
    b"event: named\r\nid: 7\r\ndata: one\r\ndata: two\r\n\r\n"
    b"data:no space\n\n"
    b"data:  two spaces\n\n"
    b"retry: 10\n\n"
    b'data: "na\xc3\xafve"\n\n\n\n'
    b"data\n\n"
    b"data: [DONE]\n\n"
)
PAYLOADS = [b'{"a": 1}', b"one\ntwo", b"no space", b" two spaces", b'"na\xc3\xafve"', b"[DONE]"]


def parsed(parts: list[bytes]) -> list[bytes]:
    parser = EventParser()
    found = [payload for part in parts for payload in parser.feed(part)]
    return found + parser.end()


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), len(STREAM)]
    assert parsed([STREAM[start:end] for start, end in pairwise(borders)]) == PAYLOADS


def test_byte_by_byte() -> None:
    assert parsed([STREAM[at : at + 1] for at in range(len(STREAM))]) == PAYLOADS


def test_an_event_comes_out_as_soon_as_it_is_complete() -> None:
    parser = EventParser()
    assert parser.feed(b"data: 1\n") == []
    assert parser.feed(b"\ndata: 2\n\nda") == [b"1", b"2"]
    assert parser.feed(b"ta: 3") == []
    assert parser.end() == [b"3"]
    assert parser.end() == []


@pytest.mark.parametrize("parts", [[b"data: " + b"a" * 60] * 2, [b"data: " + b"a" * 30 + b"\n"] * 4])
def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    monkeypatch.setattr(sse, "LARGEST_EVENT", 100)
    with pytest.raises(EventTooLarge):
        parsed(parts)


def test_many_small_events_are_not_one_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LARGEST_EVENT", 100)
    assert parsed([b"data: " + b"a" * 50 + b"\n\n"] * 10) == [b"a" * 50] * 10

"""Tokens are counted with what is packaged: as tiktoken counts them, without a network, whatever the text."""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router import counting
from scribe_router.contents import Contents
from scribe_router.counting import PIECE, counted, pieces
from scribe_router.exchange import Api, Call
from scribe_router.policies.tokens import Counted, Size
from tests.support.examples import examples

PACKAGED = Path(str(importlib.util.find_spec("litellm").origin)).parent / counting.FOLDER  # type: ignore[union-attr]
ENDLESS = 10**9
TEXTS = {
    "words": "The committee had expected a short meeting. " * 4000,
    "one letter": "a" * 200_000,
    "spaces": " " * 200_000,
    "lines": "\n" * 200_000,
    "a rule": "=" * 200_000,
    "digits": "7" * 200_000,
    "Chinese": "委员会原以为会议很短可是谁来出修桥的钱这个问题。" * 6000,
    "emoji": "👩‍👩‍👧🔥" * 20_000,
    "half of a pair": "\ud800 and \udc00" * 3,
}


def chat(*texts: str, **more: Any) -> Call:
    return Call("chat", {"messages": [{"role": "user", "content": text} for text in texts], **more})


def tokens(call: Call, enough: int = ENDLESS) -> Counted:
    (found,) = counted(call, {"o200k_base": enough})
    return found


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """tiktoken's own, from the same files."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(PACKAGED))
    return tiktoken.get_encoding("o200k_base")


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_words_are_cut_as_tiktoken_cuts_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(PACKAGED))
    file, digest, pattern = counting._PACKAGED[name]  # type: ignore[index]
    assert tiktoken.get_encoding(name)._pat_str == pattern
    assert hashlib.sha256((PACKAGED / file).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", TEXTS)
def test_a_long_text_is_counted_as_a_whole_but_for_words_that_are_torn(name: str, original: tiktoken.Encoding) -> None:
    text = TEXTS[name]
    whole, found = len(original.encode_ordinary(text)), tokens(chat(text)).text
    assert whole - 2 * len(text) // PIECE <= found <= whole


@settings(max_examples=examples(60), deadline=None)
@given(st.text(max_size=60), st.integers(1, 3))
def test_a_short_text_is_counted_exactly(text: str, times: int) -> None:
    vocabulary = counting._vocabulary("o200k_base")
    assert vocabulary is not None
    assert tokens(chat(*[text] * times)).text == times * len(vocabulary._tokenizer.encode_ordinary(text))


@settings(max_examples=examples(60), deadline=None)
@given(st.text(alphabet="ab \n.é委7", min_size=1, max_size=30), st.integers(1, 9000))
def test_pieces_are_the_text(text: str, times: int) -> None:
    found = list(pieces(text * times))
    assert "".join(piece for piece, _ in found) == text * times
    assert all(0 < len(piece) <= PIECE for piece, _ in found)


def test_counting_stops_where_it_is_enough() -> None:
    found = tokens(chat(*[TEXTS["words"]] * 10), enough=50_000)
    assert 50_000 < found.text < 50_000 + PIECE
    assert not found.end


def test_kinds_of_tokens() -> None:
    found = tokens(chat("naïve 委员会", "\n" * 160))
    assert (found.wide, found.runs) == (5, 9)


def test_tools_and_a_schema_are_counted_apart() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "what it does"}}
    found = tokens(chat("hi", tools=[tool], response_format={"type": "json_schema", "json_schema": {"name": "n"}}))
    assert (found.text, found.tools > 10, found.schema > 5) == (1, True, True)


def test_without_a_vocabulary_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "FOLDER", "no/such/folder")
    counting._vocabulary.cache_clear()
    try:
        assert counted(chat("hi"), {"o200k_base": 10}) == ()
    finally:
        counting._vocabulary.cache_clear()


NO_NETWORK = """
import sys

def closed(event, _):
    if event.startswith(("socket.", "urllib.", "http.")):
        raise RuntimeError(event)

sys.addaudithook(closed)
from scribe_router.counting import counted
from scribe_router.exchange import Call
call = Call("chat", {"messages": [{"role": "user", "content": "hello there"}]})
print([each.text for each in counted(call, {"o200k_base": 9, "cl100k_base": 9})], "litellm" in sys.modules)
"""


def test_no_socket_is_opened_and_litellm_is_not_imported(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", NO_NETWORK], capture_output=True, text=True, env=environment, timeout=60
    )
    assert ran.stdout == "[2, 2] False\n", ran.stderr
    assert list(tmp_path.iterdir()) == []


PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("api", "body", "expected"),
    [
        ("chat", {}, Size()),
        ("chat", {"messages": [{"role": "user", "content": "né"}, {"content": 7}, "x"]}, Size(text=3, messages=2)),
        ("chat", {"messages": [{"content": [{"type": "text", "text": "hi"}, PART]}]}, Size(2, 1, images=1)),
        ("chat", {"messages": [CALLED, {"tool_calls": [7, {"function": 7}]}]}, Size(text=3, messages=2)),
        ("chat", {"messages": [{"content": "a", "reasoning_content": "b" * 99}]}, Size(text=1, messages=1)),
        ("chat", {"tools": [{"a": 1}, {"b": "é"}]}, Size(tools=20, tool_count=2)),
        ("completions", {"prompt": ["a", "bcd"], "suffix": "e", "tools": [{}]}, Size(text=4)),
        ("completions", {"prompt": [1, 2, 3]}, Size()),
        ("embeddings", {"input": ["ab", "c" * 5, [1, 2]]}, Size(text=5)),
        ("embeddings", {"input": "\ud800"}, Size(text=3)),
    ],
)
def test_what_takes_room(api: Api, body: dict[str, Any], expected: Size) -> None:
    assert Contents(api, body).size() == expected

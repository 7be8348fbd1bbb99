"""Rows of quirks by themselves. What the shipped rows make of a request is in tests/upstream/test_quirk_bytes.py."""

from typing import Any

import pytest

from scribe_router.policies.providers import Provider
from scribe_router.policies.quirks import Header, Quirk, advice, fitted, headers, streamed

FORMATS = {"formats": ("text",)}
CLAMP = {"clamp": {"temperature": (0, 1)}}


@pytest.mark.parametrize(
    ("row", "body", "fit", "said"),
    [
        ({}, {"seed": 1}, {"seed": 1}, []),
        (CLAMP, {"temperature": 1.5}, {"temperature": 1}, ["temperature 1.5 is sent as 1: m takes 0 to 1"]),
        (CLAMP, {"temperature": -0.1}, {"temperature": 0}, ["temperature -0.1 is sent as 0: m takes 0 to 1"]),
        (CLAMP, {"temperature": 1}, {"temperature": 1}, []),
        (CLAMP, {"temperature": None}, {"temperature": None}, []),
        (CLAMP, {"temperature": True}, {"temperature": True}, []),
        (CLAMP, {"temperature": "hot"}, {"temperature": "hot"}, []),
        ({"never": ("a", "b")}, {"b": 0}, {}, ["b is not sent: m does not take it"]),
        ({"never": ("a",)}, {"a": None}, {}, []),
        ({"one_of": ("a", "b", "c")}, {"c": 3, "b": 2}, {"b": 2}, ["c is not sent: m takes it or b"]),
        ({"one_of": ("a", "b")}, {"a": None, "b": 2}, {"a": None, "b": 2}, []),
        ({"one_of": ("a", "b")}, {}, {}, []),
        ({"only_with_tools": ("a",)}, {"a": 1}, {}, ["a is not sent: there are no tools"]),
        ({"only_with_tools": ("a",)}, {"a": 1, "tools": []}, {"tools": []}, ["a is not sent: there are no tools"]),
        ({"only_with_tools": ("a",)}, {"a": 1, "tools": [{}]}, {"a": 1, "tools": [{}]}, []),
        ({"only_with_tools": ("a",)}, {"a": 1, "functions": [{}]}, {"a": 1, "functions": [{}]}, []),
        ({"values": {"tier": {"auto": "usual"}}}, {"tier": "auto"}, {"tier": "usual"}, []),
        ({"values": {"tier": {"auto": "usual"}}}, {"tier": "other"}, {"tier": "other"}, []),
        ({"values": {"tier": {"auto": "usual"}}}, {"tier": ["auto"]}, {"tier": ["auto"]}, []),
        ({"rename": {"a": "b"}}, {"a": 1}, {"b": 1}, []),
        ({"rename": {"a": "b"}}, {"a": 1, "b": 2}, {"b": 2}, ["a is not sent: b is its name at m"]),
        ({"rename": {"a": "b"}}, {"a": 1, "b": None}, {"b": 1}, []),
        ({"roles": {"boss": "user"}}, {"messages": [{"role": "boss"}, 1]}, {"messages": [{"role": "user"}, 1]}, []),
        ({"roles": {"boss": "user"}}, {"messages": [{"role": ["boss"]}]}, {"messages": [{"role": ["boss"]}]}, []),
        ({"roles": {"boss": "user"}}, {"messages": None}, {"messages": None}, []),
        (FORMATS, {"response_format": {"type": "csv"}}, {}, ["response_format is not sent: m has no csv"]),
        (FORMATS, {"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}, []),
        (FORMATS, {"response_format": "csv"}, {"response_format": "csv"}, []),
        ({"defaults": {"a": 1}}, {}, {"a": 1}, []),
        ({"defaults": {"a": 1}}, {"a": False}, {"a": False}, []),
        ({"defaults": {"a": 5}, "clamp": {"a": (0, 1)}}, {}, {"a": 1}, ["a 5 is sent as 1: m takes 0 to 1"]),
    ],
)
def test_a_row(row: dict[str, Any], body: dict[str, Any], fit: dict[str, Any], said: list[str]) -> None:
    asked = {"model": "m", **body}
    assert fitted((Quirk(**row),), asked) == ({"model": "m", **fit}, said)
    assert asked == {"model": "m", **body}


def test_every_row_that_matches_counts_in_its_order() -> None:
    rows = {
        "all": Quirk(clamp={"n": (0, 5)}),
        "some": Quirk(models=("big-*",), clamp={"n": (0, 3)}),
        "others": Quirk(models=("small-*",), never=("n",)),
    }
    provider = Provider(quirks=rows)
    fit, said = fitted(provider.quirks_of("Big-1"), {"model": "Big-1", "n": 9})
    assert (fit["n"], said) == (3, ["n 9 is sent as 5: Big-1 takes 0 to 5", "n 5 is sent as 3: Big-1 takes 0 to 3"])


@pytest.mark.parametrize(
    ("row", "own", "body", "size", "sent"),
    [
        ({"value": "v"}, {}, {}, 0, {"X": "v"}),
        ({"value": "v"}, {"Y": "y"}, {}, 0, {"Y": "y", "X": "v"}),
        ({"value": "v"}, {"x": "a, v,b"}, {}, 0, {"X": "a,v,b"}),
        ({"value": "v"}, {"x": "a"}, {}, 0, {"X": "a,v"}),
        ({"value": "v", "when": ["f"]}, {"x": "a"}, {}, 0, {"x": "a"}),
        ({"value": "v", "when": ["f"]}, {}, {"f": None}, 0, {}),
        ({"value": "v", "when": ["f", "g"]}, {}, {"f": 1}, 0, {}),
        ({"value": "v", "when": ["f", "g"]}, {}, {"f": 1, "g": 2}, 0, {"X": "v"}),
        ({"value": "v", "longer_than": 100}, {}, {}, 400, {}),
        ({"value": "v", "longer_than": 100}, {}, {}, 401, {"X": "v"}),
    ],
)
def test_headers(row: dict[str, Any], own: dict[str, str], body: dict[str, Any], size: int, sent: Any) -> None:
    assert headers((Quirk(headers={"X": Header(**row)}),), own, body, size) == sent


@pytest.mark.parametrize(
    ("only", "thinking", "streams"),
    [(False, True, False), (True, False, True), ("thinking", False, False), ("thinking", True, True)],
)
def test_who_answers_in_parts_alone(only: Any, streams: bool, *, thinking: bool) -> None:
    assert streamed((Quirk(), Quirk(stream_only=only)), thinking=thinking) is streams


def test_advice() -> None:
    rows = (Quirk(obsolete={"old": "it is over"}), Quirk(window="num_ctx"))
    said = [
        "the header old does nothing any more: it is over",
        "num_ctx is not set: longer prompts are cut without a word",
    ]
    assert list(advice(rows, {"Beta": "new, old"}, {})) == said
    assert list(advice(rows, {"Beta": "older"}, {"num_ctx": 5})) == []
    assert list(advice(rows, {}, None)) == []

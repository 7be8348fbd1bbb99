"""Vectors: deterministic, of length one, near for like texts, and equal in both encodings."""

import base64
import math
import struct
from typing import Any

import pytest

from scribe_router.sandbox.embedding import encoded, size, texts_of, vector
from scribe_router.sandbox.fault import Refused


def cosine(left: str | list[int], right: str | list[int]) -> float:
    return sum(a * b for a, b in zip(vector(left), vector(right), strict=True))


@pytest.mark.parametrize("given", ["", "one", "one two three", [1, 2, 3]])
@pytest.mark.parametrize("dimensions", [1, 8, 1536])
def test_unit_vectors(given: str | list[int], dimensions: int) -> None:
    found = vector(given, dimensions)
    assert len(found) == dimensions
    assert math.hypot(*found) == pytest.approx(1, abs=1e-5)
    assert found == vector(given, dimensions)


def test_like_texts_are_near() -> None:
    assert cosine("What is the capital of France", "what is the capital of france") == pytest.approx(1)
    assert cosine("what is the capital of france", "what is the capital of spain") > 0.7
    assert abs(cosine("alpha beta gamma", "delta epsilon zeta")) < 0.3


def test_base64_holds_the_same_numbers() -> None:
    values = vector("one two")
    text = encoded(values, "base64")
    assert isinstance(text, str)
    assert list(struct.unpack("<1536f", base64.b64decode(text))) == values == encoded(values, "float")


@pytest.mark.parametrize(
    ("given", "sizes"), [("a b", [2]), (["a", "b c"], [1, 2]), ([1, 2, 3], [3]), ([[1, 2], [3]], [2, 1])]
)
def test_inputs(given: Any, sizes: list[int]) -> None:
    assert [size(one) for one in texts_of(given)] == sizes


@pytest.mark.parametrize("given", [None, 7, [], [None], ["a"] * 2049, {"a": 1}])
def test_bad_inputs(given: Any) -> None:
    with pytest.raises(Refused, match="'input'"):
        texts_of(given)


def test_bad_dimensions() -> None:
    with pytest.raises(Refused, match="'dimensions'"):
        vector("a", 0)

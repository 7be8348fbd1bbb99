"""Deterministic embeddings: each word is hashed to a few signed places, so that texts that share words are near."""

import base64
import math
import struct
from hashlib import blake2b
from typing import Any, Final

from scribe_router.sandbox.fault import invalid
from scribe_router.sandbox.prompt import count

DIMENSIONS: Final = 1536
MOST_DIMENSIONS: Final = 16_384
MOST_INPUTS: Final = 2048
PLACES: Final = 8


def texts_of(given: Any) -> list[str | list[int]]:
    """The inputs of a request: a text, a list of texts, an array of token numbers, or a list of such arrays."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and 0 < len(given) <= MOST_INPUTS:
        if all(isinstance(one, int) for one in given):
            return [given]
        if all(isinstance(one, str | list) for one in given):
            return given
    raise invalid("invalid parameter: 'input' must be text, a list of texts, or arrays of token numbers, 2048 at most")


def size(given: str | list[int]) -> int:
    """Input tokens of one input."""
    return count(given) if isinstance(given, str) else len(given)


def vector(given: str | list[int], dimensions: int = DIMENSIONS) -> list[float]:
    """The unit vector of one input, in values that 32 bits hold exactly."""
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise invalid(f"invalid parameter: 'dimensions' must be between 1 and {MOST_DIMENSIONS}")
    sums = [0.0] * dimensions
    for word in given.lower().split() if isinstance(given, str) else map(str, given):
        digest = blake2b(word.encode(), digest_size=4 * PLACES).digest()
        for (place,) in struct.iter_unpack("<I", digest):
            sums[(place >> 1) % dimensions] += 1.0 if place & 1 else -1.0
    length = math.hypot(*sums)
    unit = [value / length for value in sums] if length else [1.0, *sums[1:]]
    return list(struct.unpack(f"<{dimensions}f", pack(unit)))


def pack(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def encoded(values: list[float], encoding: object) -> list[float] | str:
    """The vector as the request wants it: numbers, or base64 of little-endian 32-bit floats."""
    return base64.b64encode(pack(values)).decode() if encoding == "base64" else values

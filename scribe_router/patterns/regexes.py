"""What a regular expression can cost at worst: told by its own parts, before it meets any text. Knows no policy.

Python tries one way after the other, so that `(a+)+` takes ages. The ways that a match can try from one place are
counted; as long as they are few, and each is short, a text takes time in proportion to its length.
"""

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

# The only parser that reads what re reads; the standard library's stubs tell of it here and there.
_parser: Any = import_module("re._parser")
_constants: Any = import_module("re._constants")
MOST_WAYS = 256  # an expression with this many takes seconds for a megabyte of the worst text
LONGEST = 512

_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_LOOKS = (_constants.ASSERT, _constants.ASSERT_NOT)
_BACK = (_constants.GROUPREF, _constants.GROUPREF_EXISTS)


def bounded(regex: str) -> int:
    """How many letters the expression looks at, at most. Raises `ValueError` where it is none, or could take long."""
    try:
        tree = _parser.parse(regex)
        re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    if tree.getwidth()[0] == 0:
        raise ValueError("it matches nothing at all, which is everywhere; ask for one letter at least")
    ways, reach = _cost(tree)
    if ways > MOST_WAYS:
        why = f"it can try more than {MOST_WAYS} ways from one place, which takes long"
        raise ValueError(f"{why}; repeat less, or possessively ({{1,9}}+)")
    if reach > LONGEST:
        raise ValueError(f"it looks at up to {reach} letters, more than {LONGEST}; repeat less")
    return reach


def _cost(parts: Iterable[tuple[Any, Any]]) -> tuple[int, int]:
    """(ways, letters) of a sequence."""
    ways, reach = 1, 0
    for kind, what in parts:
        more, letters = _part(kind, what)
        ways, reach = min(ways * more, MOST_WAYS + 1), reach + letters
    return ways, reach


def _part(kind: Any, what: Any) -> tuple[int, int]:
    if kind in _REPEATS:
        return _repeat(kind, *what)
    if kind is _constants.BRANCH:
        branches = [_cost(branch) for branch in what[1]]
        return sum(ways for ways, _ in branches), max(letters for _, letters in branches)
    if kind is _constants.SUBPATTERN:
        return _cost(what[3])
    if kind in _LOOKS:
        return _cost(what[1])
    if kind is _constants.ATOMIC_GROUP:
        return _cost(what)
    if kind in _BACK:
        raise ValueError("it refers to a group of its own, whose length nobody knows; write it out")
    return 1, 1


def _repeat(kind: Any, least: int, most: int, what: Any) -> tuple[int, int]:
    if most is _constants.MAXREPEAT:
        raise ValueError("it repeats without end (*, + or {n,}); write how often at most, such as {1,64}")
    ways, letters = _cost(what)
    if kind is _constants.POSSESSIVE_REPEAT:
        return ways, letters * most
    if ways == 1:
        return most - least + 1, letters * most
    every = sum(min(ways, MOST_WAYS + 1) ** min(times, 16) for times in range(least, min(most, least + 16) + 1))
    return min(every, MOST_WAYS + 1), letters * most

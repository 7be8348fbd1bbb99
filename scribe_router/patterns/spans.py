"""How a kind of private text is looked for: finders that yield spans, and what they share. Knows texts, no kind.

Everything takes time in proportion to the text: a pattern begins at the edge of a run of its letters, and takes what it
repeats without giving it back.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
LOOK_BACK = 80  # the longest name and sign before a value
_ASCII = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and the same in small letters at the same places. Spans are wanted from `start` on; what is before it is
    looked back at, for names and edges."""

    whole: str
    small: str
    start: int = 0

    @property
    def back(self) -> int:
        return max(0, self.start - LOOK_BACK)

    @classmethod
    def of(cls, whole: str, start: int = 0) -> "Text":
        small = whole.lower()
        return cls(whole, small if len(small) == len(whole) else whole.translate(_ASCII), start)


Finder: TypeAlias = Callable[[Text], Iterator[Span]]


def anything(_: str) -> bool:
    return True


def matching(regex: str, hint: str = "", check: Callable[[str], bool] = anything) -> Finder:
    """Finds what `regex` matches (its first group that took part, or all of it) and `check` affirms. Without `hint` in
    the text there is none."""

    @cache
    def compiled() -> re.Pattern[str]:  # a hundred of them take a while, and most are never met
        return re.compile(regex, re.ASCII)

    def find(text: Text) -> Iterator[Span]:
        if hint not in text.whole:
            return
        for match in compiled().finditer(text.whole, text.back):
            span = match.span(match.lastindex or 0)
            if check(text.whole[slice(*span)]):
                yield span

    return find


def beginning(start: str, rest: str, check: Callable[[str], bool] = anything) -> Finder:
    """Finds words that begin with `start`; `rest` is the regex of what follows it. It is looked for as a literal, which
    is fast, and only then is looked at what stands before."""
    literal = re.escape(start)
    return matching(rf"{literal}(?<![A-Za-z0-9_-]{literal}){rest}", start, check)


def random(word: str) -> bool:
    """Whether a word looks drawn rather than written: it keeps changing between small letters, capitals and digits.
    Words joined by dashes do not, nor does `xxxxxxxx`."""
    kinds = ["a" if each.islower() else "A" if each.isupper() else "1" if each.isdigit() else "" for each in word]
    changes = sum(1 for one, other in pairwise(kinds) if one and other and one != other)
    return changes >= max(4, len(word) // 8)

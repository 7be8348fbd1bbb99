"""What in a text is private, by kinds. Pure: it knows texts, nothing of requests, policies, or what becomes of a find.

A kind is a few finders; of two finds that overlap, the one of the earlier kind counts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scribe_router.patterns.credentials import KEYS, PASSWORDS, TOKENS
from scribe_router.patterns.personal import CARDS, EMAILS, IBANS, PHONES, SSNS
from scribe_router.patterns.spans import Finder, Text

KINDS: Mapping[str, tuple[Finder, ...]] = MappingProxyType(
    {
        "key": KEYS,
        "token": TOKENS,
        "password": PASSWORDS,
        "card": CARDS,
        "iban": IBANS,
        "ssn": SSNS,
        "email": EMAILS,
        "phone": PHONES,
    }
)
_DATA = re.compile(r"data:[\w/.+-]{0,100}+(?:;[\w=.-]{1,100}+){0,4}?;base64,[\w+/=-]*+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """One private piece of a text: where it stands, and its kind."""

    start: int
    end: int
    kind: str


def find(text: str, kinds: Iterable[tuple[str, Iterable[Finder]]], start: int = 0) -> list[Found]:
    """What is private in a text from `start` on, in its order, without overlaps. What `data:` URLs hold in base64 is
    nobody's words."""
    looked, taken = Text.of(text, start), bytearray(len(text))
    for match in _DATA.finditer(text) if ";base64," in text else ():
        taken[slice(*match.span())] = b"\1" * (match.end() - match.start())
    found = []
    for kind, finders in kinds:
        for finder in finders:
            for begin, end in finder(looked):
                if begin >= start and taken.find(1, begin, end) < 0:
                    taken[begin:end] = b"\1" * (end - begin)
                    found.append(Found(begin, end, kind))
    return sorted(found)

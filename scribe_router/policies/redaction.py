"""What is private, and where it is replaced: `policies/redaction.yaml`. Absent, nothing is.

Knows kinds and places; never a request, and never the text around.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from scribe_router.patterns import KINDS
from scribe_router.patterns.regexes import bounded
from scribe_router.patterns.spans import Finder, matching
from scribe_router.policies.schema import Shape

Where = Literal["upstream", "answers", "journal"]
PLACES: tuple[Where, ...] = ("upstream", "answers", "journal")
SHORTEST_KEY = 20
Kinds = tuple[tuple[str, tuple[Finder, ...]], ...]


class OwnPattern(Shape):
    """A pattern of your own: what `regex` (Python's) matches, or its first group, is of this `kind`, which may be one
    of those that are there. It repeats nothing without end, so that it takes time in proportion to a text."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    regex: str = Field(min_length=1, max_length=1000)

    @field_validator("regex")
    @classmethod
    def _bounded(cls, regex: str) -> str:
        bounded(regex)
        return regex


class RedactionPolicy(Shape):
    """Replaces what is private by a placeholder that says its kind: in what goes `upstream`, in `answers`, in the
    `journal`, for each the kinds that are meant. With `restore` an answer has what the request said in place of the
    placeholders that the model repeats.

    One secret has one placeholder, made with `key`; with a key of your own (20 characters or more) on every machine and
    for ever, without one as long as a process lives.
    """

    upstream: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    journal: tuple[str, ...] = tuple(KINDS)
    restore: bool = False
    key: SecretStr = SecretStr("")
    patterns: tuple[OwnPattern, ...] = ()

    @field_validator("key")
    @classmethod
    def _strong(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"too weak; give it at least {SHORTEST_KEY} random characters")
        return key

    @property
    def own(self) -> frozenset[str]:
        """The kinds of the operator's own patterns."""
        return frozenset(each.kind for each in self.patterns)

    @property
    def reach(self) -> int:
        """How many letters the operator's patterns look at, at most."""
        return max((bounded(each.regex) + 1 for each in self.patterns), default=0)

    def unknown(self) -> Iterator[tuple[Where, int, str]]:
        """Kinds that are named and that nobody has: the place, which of its list, the name."""
        for place in PLACES:
            for index, kind in enumerate(getattr(self, place)):
                if kind not in KINDS and kind not in self.own:
                    yield place, index, kind

    def kinds(self, where: Where) -> Kinds:
        """What is looked for in a place: kinds and their finders, the operator's own first."""
        wanted = getattr(self, where)
        own = tuple((each.kind, (matching(each.regex),)) for each in self.patterns if each.kind in wanted)
        return own + tuple((kind, finders) for kind, finders in KINDS.items() if kind in wanted)

"""What the name of a sandbox model means: a pure function from the name to a frozen `Behaviour`.

The last segment of a name counts, without a tag: `openai/echo`, `vendor/echo:free` and `echo` are one. Several are
joined with `+`: `slow-500ms+no-usage`. A part that no rule knows says nothing, so `gpt-6.1-sol` echoes. Adding a
behaviour is a row in `RULES` and, where it needs a number of its own, a field here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from scribe_router.sandbox.fault import Reason

COUNT: Final = r"\d{1,6}"
TOKENS: Final = r"\d{1,9}"
TIME: Final = r"\d{1,6}(?:\.\d{1,3})?(?:ms|s)"


@dataclass(frozen=True)
class Behaviour:
    """How to answer. The defaults are those of `echo`; times are seconds, sizes are tokens."""

    delay: float = 0.0
    first: float = 0.0
    pace: float = 0.0
    status: int | None = None
    reason: Reason | None = None
    retry_after: int | None = None
    patience: bool = True
    flaky: int = 0
    percent: int = 0
    cut_after: int | None = None
    error_after: int | None = None
    garbage_after: int | None = None
    stall_after: int | None = None
    html: int | None = None
    refuse: bool = False
    reset: bool = False
    hang: bool = False
    garbage: bool = False
    blank: bool = False
    disguised: bool = False
    empty: bool = False
    usage: bool = True
    end: bool = True
    done: bool = True
    think: int = 0
    tools: int = 0
    words: int | None = None
    input: int | None = None
    output: int | None = None
    cached: int = 0
    max_bill: bool = False

    @property
    def breaks_after(self) -> int | None:
        """Content chunks after which a stream breaks."""
        points = (self.cut_after, self.error_after, self.garbage_after, self.stall_after)
        return next((each for each in points if each is not None), None)

    @property
    def least_words(self) -> int:
        """Words that the answer needs, so that a stream is still running when it is to break."""
        return 0 if self.breaks_after is None else self.breaks_after + 1


# A named group sets the field of its name; the mapping sets what the name alone says.
RULES: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("echo", {}),
    (rf"slow-(?P<delay>{TIME})", {}),
    (rf"first-(?P<first>{TIME})", {}),
    (rf"pace-(?P<pace>{TIME})", {}),
    (rf"error-(?P<status>[45]\d\d)(-after-(?P<retry_after>{COUNT}))?", {}),
    ("no-retry-after", {"patience": False}),
    ("error-context", {"status": 400, "reason": "context"}),
    ("error-content", {"status": 400, "reason": "content"}),
    ("error-in-200", {"disguised": True}),
    (rf"error-mid-(?P<error_after>{COUNT})", {}),
    (rf"flaky-(?P<flaky>{COUNT})", {}),
    (r"random-(?P<percent>\d{1,2}|100)pct", {}),
    (rf"cut-after-(?P<cut_after>{COUNT})", {}),
    (rf"stall-after-(?P<stall_after>{COUNT})", {}),
    ("refuse", {"refuse": True}),
    ("reset", {"refuse": True, "reset": True}),
    ("hang", {"hang": True}),
    ("garbage", {"garbage": True}),
    (rf"garbage-after-(?P<garbage_after>{COUNT})", {}),
    ("empty", {"empty": True}),
    ("blank", {"blank": True}),
    (r"html-(?P<html>200|[45]\d\d)", {}),
    ("no-usage", {"usage": False}),
    ("no-end", {"end": False}),
    ("no-done", {"done": False}),
    ("think", {"think": 10}),
    (rf"think-(?P<think>{COUNT})", {}),
    ("tool", {"tools": 1}),
    (rf"tools-(?P<tools>{COUNT})", {}),
    (rf"long-(?P<words>{COUNT})", {}),
    (rf"usage-(?P<input>{TOKENS})-(?P<output>{TOKENS})", {}),
    (rf"cached-(?P<cached>{TOKENS})", {}),
    ("max-bill", {"max_bill": True}),
    (rf"max-bill-(?P<input>{TOKENS})", {"max_bill": True}),
)


def seconds(text: str) -> float:
    """`500ms` and `2s` in seconds."""
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])


CONVERT: Final[Mapping[str, Callable[[str], Any]]] = dict.fromkeys(("delay", "first", "pace"), seconds)
COMPILED: Final = tuple((re.compile(pattern), constants) for pattern, constants in RULES)


def meaning(part: str) -> Mapping[str, Any]:
    """The fields that one part of a name sets; none when no rule knows it."""
    for pattern, constants in COMPILED:
        if match := pattern.fullmatch(part):
            given = {name: text for name, text in match.groupdict().items() if text is not None}
            return {**constants, **{name: CONVERT.get(name, int)(text) for name, text in given.items()}}
    return {}


@lru_cache(maxsize=1024)
def parse(model: str) -> Behaviour:
    """The behaviour that a model's name asks for."""
    last = model.rsplit("/", 1)[-1].partition(":")[0]
    behaviour = Behaviour()
    for part in last.split("+"):
        behaviour = replace(behaviour, **meaning(part))
    return behaviour

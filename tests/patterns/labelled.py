"""The labelled lines of `tests/cases/redaction.tsv`, and how what is found compares with what is there."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scribe_router.patterns import KINDS, Found, find

CASES = Path(__file__).parent.parent / "cases" / "redaction.tsv"
JOINT, END_OF_LINE = "¦", "⏎"
_MARK = re.compile(r"⟦(\w+):(.*?)⟧", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A text, what it is about, and what is private in it."""

    about: str
    text: str
    private: tuple[Found, ...]


def lines() -> Iterator[Line]:
    """Every labelled line."""
    for row in CASES.read_text(encoding="utf-8").splitlines():
        if not row.startswith("#"):
            about, _, marked = row.partition("\t")
            yield read(about, marked.replace(JOINT, "").replace(END_OF_LINE, "\n"))


def read(about: str, marked: str) -> Line:
    text, private, at = "", [], 0
    for mark in _MARK.finditer(marked):
        text += marked[at : mark.start()]
        private.append(Found(len(text), len(text) + len(mark[2]), mark[1]))
        text, at = text + mark[2], mark.end()
    return Line(about, text + marked[at:], tuple(private))


@dataclass(frozen=True)
class Score:
    """Of one kind: pieces that are there, how many were found exactly, and what was found and is not there."""

    there: int
    found: int
    wrong: int

    @property
    def recall(self) -> float:
        return self.found / self.there

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.wrong)


def scores() -> dict[str, Score]:
    """The score of each kind: a piece counts with its kind, its beginning and its end, or not at all."""
    there, right, wrong = Counter[str](), Counter[str](), Counter[str]()
    for line in lines():
        found = find(line.text, KINDS.items())
        there.update(each.kind for each in line.private)
        right.update(each.kind for each in found if each in line.private)
        wrong.update(each.kind for each in found if each not in line.private)
    return {kind: Score(there[kind], right[kind], wrong[kind]) for kind in KINDS}


def table() -> str:
    """The scores as docs/privacy.md has them."""
    rows = [
        f"| `{kind}` | {each.there} | {each.found} | {each.wrong} | {each.recall:.2f} | {each.precision:.2f} |"
        for kind, each in scores().items()
    ]
    return "\n".join(["| kind | there | found | wrongly | recall | precision |", "|---|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())

"""Canned answers: what a model says instead of an echo.

    gpt-6.1-sol: always this text        # by model: the whole name, or its last segment
or
    - match: (?i)weather in (\\w+)        # by the user's last text; the first match answers
      answer: sunny
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Answers:
    """Texts by model and by pattern; empty by default."""

    by_model: Mapping[str, str]
    by_text: tuple[tuple[re.Pattern[str], str], ...] = ()

    def find(self, model: str, text: str) -> str | None:
        """The canned answer to a text, or none."""
        for pattern, answer in self.by_text:
            if pattern.search(text):
                return answer
        return self.by_model.get(model, self.by_model.get(model.rsplit("/", 1)[-1]))


def load(source: Mapping[str, str] | Path | None) -> Answers:
    """Answers from a mapping or from a YAML or JSON file. Raises `ValueError` with place, problem and remedy."""
    if not isinstance(source, Path):
        return by_model(source or {}, "answers")
    document = yaml.safe_load(source.read_text(encoding="utf-8"))
    return by_text(document, str(source)) if isinstance(document, list) else by_model(document or {}, str(source))


def by_model(document: Any, place: str) -> Answers:
    if not isinstance(document, Mapping):
        raise ValueError(f"{place}: expected a mapping of model to text, or a list of match and answer")
    for model, answer in document.items():
        if not isinstance(answer, str):
            raise ValueError(f"{place}: {model}: the answer is no text; put it in quotes")
    return Answers(dict(document))


def by_text(document: list[Any], place: str) -> Answers:
    return Answers({}, tuple(rule(entry, f"{place}: entry {number}") for number, entry in enumerate(document, 1)))


def rule(entry: Any, place: str) -> tuple[re.Pattern[str], str]:
    if not isinstance(entry, Mapping) or set(entry) != {"match", "answer"}:
        raise ValueError(f"{place}: expected exactly the keys match and answer")
    try:
        return re.compile(str(entry["match"])), str(entry["answer"])
    except re.error as error:
        raise ValueError(f"{place}: match is no regular expression: {error}") from error

"""Canned answers: what a model says instead of an echo, and what it reports to have used.

    gpt-6.1-sol: always this text        # by model: the whole name, or its last segment
or
    - match: (?i)weather in (\\w+)        # by the user's last text; the first match answers
      answer: sunny
      usage: {prompt_tokens: 1000, completion_tokens: 20}   # in the provider's own words; it leaves as it stands
      extra: {annotations: []}          # more fields of the message (OpenAI) or of the candidate (Gemini)
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Source = Mapping[str, str] | Sequence[Mapping[str, Any]] | Path | None


@dataclass(frozen=True)
class Canned:
    """A text, the usage object of the reply (None leaves it to the behaviour), and what stands beside the text."""

    text: str
    usage: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Answers by model and by pattern; empty by default."""

    by_model: Mapping[str, Canned]
    by_text: tuple[tuple[re.Pattern[str], Canned], ...] = ()

    def find(self, model: str, text: str) -> Canned | None:
        """The canned answer to a text, or none."""
        for pattern, answer in self.by_text:
            if pattern.search(text):
                return answer
        return self.by_model.get(model, self.by_model.get(model.rsplit("/", 1)[-1]))


def load(source: Source) -> Answers:
    """Answers from data or from a YAML or JSON file. Raises `ValueError` with place, problem and remedy."""
    document, place = source, "answers"
    if isinstance(source, Path):
        document, place = yaml.safe_load(source.read_text(encoding="utf-8")), str(source)
    return by_text(document, place) if isinstance(document, list) else by_model(document or {}, place)


def by_model(document: Any, place: str) -> Answers:
    if not isinstance(document, Mapping):
        raise ValueError(f"{place}: expected a mapping of model to text, or a list of match and answer")
    for model, answer in document.items():
        if not isinstance(answer, str):
            raise ValueError(f"{place}: {model}: the answer is no text; put it in quotes")
    return Answers({model: Canned(answer) for model, answer in document.items()})


def by_text(document: list[Any], place: str) -> Answers:
    return Answers({}, tuple(rule(entry, f"{place}: entry {number}") for number, entry in enumerate(document, 1)))


def rule(entry: Any, place: str) -> tuple[re.Pattern[str], Canned]:
    if not isinstance(entry, Mapping) or set(entry) - {"usage", "extra"} != {"match", "answer"}:
        raise ValueError(f"{place}: expected the keys match and answer, and maybe usage and extra")
    usage, extra = entry.get("usage"), entry.get("extra", {})
    if not isinstance(usage or {}, Mapping) or not isinstance(extra, Mapping):
        raise ValueError(f"{place}: usage and extra are objects, in the provider's words")
    try:
        return re.compile(str(entry["match"])), Canned(str(entry["answer"]), usage, extra)
    except re.error as error:
        raise ValueError(f"{place}: match is no regular expression: {error}") from error

"""Canned answers from mappings and files, and the words for bad ones."""

from pathlib import Path

import pytest

from scribe_router.sandbox.answers import Canned, load

FILES = {
    "models.yaml": ("gpt-6.1-sol: by model\n", "by model"),
    "models.json": ('{"gpt-6.1-sol": "by model"}', "by model"),
    "rules.yaml": ("- {match: '(?i)WEATHER', answer: sunny}\n- {match: w, answer: second}\n", "sunny"),
    "later.yaml": ("- {match: rain, answer: wet}\n- {match: weather, answer: 21}\n", "21"),
    "empty.yaml": ("", None),
}
BAD = {
    "just text": "expected a mapping of model to text, or a list of match and answer",
    "gpt: 7": "gpt: the answer is no text; put it in quotes",
    "- {match: a}": "entry 1: expected the keys match and answer, and maybe usage and extra",
    "- {match: a, answer: x, usage: 5}": "entry 1: usage and extra are objects, in the provider's words",
    "- {match: '(', answer: x}": "entry 1: match is no regular expression: missing )",
}


@pytest.mark.parametrize("name", FILES)
def test_file(name: str, tmp_path: Path) -> None:
    text, expected = FILES[name]
    path = tmp_path / name
    path.write_text(text)
    found = load(path).find("openai/gpt-6.1-sol", "the weather?")
    assert (found.text if found else None) == expected


@pytest.mark.parametrize("text", BAD)
def test_bad_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        load(path)
    assert str(caught.value).startswith(f"{path}: {BAD[text]}")


def test_mapping() -> None:
    assert load({"m": "canned"}).find("m", "") == Canned("canned")
    assert load(None).find("m", "") is None

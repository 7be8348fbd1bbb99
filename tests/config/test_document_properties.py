"""Whatever the text, reading ends in data or in problems; and what was written is what is read."""

import math
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scribe_router.config.documents import Document, parse
from tests.support.examples import examples

MARKS = [*"-:,[]{}#&*!|>'\"%@`?~<=+.\\ \n\t\0\r\x85\u2028\ufeff"]
WORDS = ["<<", "&a ", "*a", "!!int ", "!!set ", "!<tag:", "---\n", "...\n", "%YAML 1.2\n", "%TAG ! x\n", "a: ", "- "]
WORDS += ["  ", "off", "0x", "1e3", ".inf", "\\U0011", '"\\x', "? ", "|2\n"]
PIECES = st.sampled_from([*MARKS, *WORDS])
YAML_LIKE = st.lists(PIECES | st.characters(), max_size=40).map("".join)
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | KEYS
    | st.sampled_from(["off", "1e3", "~", "0o7"])
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


def read(text: str, *, shared: bool = False) -> Document:
    return parse(text, Document("x.yaml"), shared=shared)


@settings(max_examples=examples(400), deadline=None)
@given(text=YAML_LIKE | st.text(max_size=60), shared=st.booleans())
@example(text='"\\UFFFFFFFF"', shared=False)
@example(text="&a {<<: *a}", shared=True)
@example(text="a: !!float x", shared=False)
def test_any_text_is_a_document_or_problems(text: str, shared: bool) -> None:
    document = read(text, shared=shared)
    assert document.readable or document.problems
    for problem in document.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in str(problem)
        str(problem).encode()


class _Quoting(yaml.SafeDumper):
    """Text is always quoted: PyYAML's own rules are those of YAML 1.1."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Quoting.add_representer(str, _quoted)


@settings(max_examples=examples(200), deadline=None)
@given(data=st.dictionaries(KEYS, DATA, max_size=5), flow=st.booleans())
def test_what_was_written_is_what_is_read(data: dict[str, Any], flow: bool) -> None:
    text = yaml.dump(data, Dumper=_Quoting, allow_unicode=True, default_flow_style=flow)
    document = read(text)
    assert document.problems == []
    assert _same(document.data, data)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other)
    return type(one) is type(other) and bool(one == other)


@settings(max_examples=examples(100), deadline=None)
@given(data=st.dictionaries(KEYS, DATA, max_size=5))
def test_every_value_has_a_place(data: dict[str, Any]) -> None:
    text = yaml.dump(data, Dumper=_Quoting, allow_unicode=True)
    document = read(text)
    lines = text.splitlines(keepends=True)
    for line, column in document.marks.values():
        assert 1 <= column <= len(lines[line - 1]) + 1 if line <= len(lines) else column == 1

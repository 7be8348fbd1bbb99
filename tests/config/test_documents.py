"""YAML text to data: the scalars of YAML 1.2, what is refused, and where each value stands."""

import math
from pathlib import Path
from typing import Any

import pytest

from scribe_router.config import documents
from scribe_router.config.documents import Document, load, parse
from scribe_router.config.nodes import DEEPEST, MOST_NODES

SCALARS: list[tuple[str, Any]] = [
    ("", None),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("nULL", "nULL"),
    ("true", True),
    ("True", True),
    ("FALSE", False),
    ("tRue", "tRue"),
    ("off", "off"),
    ("On", "On"),
    ("no", "no"),
    ("YES", "YES"),
    ("y", "y"),
    ("0", 0),
    ("-17", -17),
    ("+17", 17),
    ("0100", 100),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("1e3", 1000.0),
    ("1e-6", 1e-6),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1.", 1.0),
    ("-1.5E+3", -1500.0),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("1.2.3", "1.2.3"),
    ("2026-12-31", "2026-12-31"),
    ("'5'", "5"),
    ('"true"', "true"),
    ("!!str 5", "5"),
    ("!!int 5", 5),
    ("!!float 5", 5.0),
    ("gpt-5", "gpt-5"),
    ("os.environ/A:5", "os.environ/A:5"),
    ("|\n  a\n  b\n", "a\nb\n"),
]


def read(text: str, *, shared: bool = False) -> Document:
    return parse(text, Document("x.yaml"), shared=shared)


def problems(text: str, *, shared: bool = False) -> list[str]:
    return [str(problem) for problem in read(text, shared=shared).problems]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[repr(text) for text, _ in SCALARS])
def test_scalar(text: str, value: Any) -> None:
    document = read(f"a: {text}")
    assert document.problems == []
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(read("a: .nan").data["a"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: a: this key stands twice, first in line 1"),
        ("a: {b: 1, 'b': 2}\n", "x.yaml:1:11: a.b: this key stands twice, first in line 1"),
        ("1: a\n'1': b\n", "x.yaml:2:1: 1: this key stands twice, first in line 1"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", "x.yaml:4:3: y.<<: this key stands twice, first in line 3"),
        ("a:\n\t- b\n", "x.yaml:2:1: a tab cannot indent or start a value in yaml; use spaces"),
        ("a: \tb\n", "x.yaml:1:4: a tab cannot indent or start a value in yaml; use spaces"),
        ("a: &a [*a]\n", "x.yaml:1:4: an anchor cannot contain itself"),
        ("a: &a {<<: *a}\n", "x.yaml:1:4: an anchor cannot contain itself"),
        ("a: &a {b: {<<: *a}}\n", "x.yaml:1:4: an anchor cannot contain itself"),
        ("a: *b\n", "x.yaml:1:4: not yaml: found undefined alias 'b'"),
        ("a: &b 1\nc: &b 2\n", "x.yaml:2:4: not yaml: second occurrence"),
        ("a: {<<: 5}\n", "x.yaml:1:9: << takes a mapping"),
        ("a: {<<: [{b: 1}, c]}\n", "x.yaml:1:18: << takes a mapping"),
        ("true: 1\n", "x.yaml:1:1: a key must be a name; quote it"),
        ("~: 1\n", "x.yaml:1:1: a key must be a name; quote it"),
        ("? [a]\n: 1\n", "x.yaml:1:3: a key must be a name; quote it"),
        ("a: !!int b\n", "x.yaml:1:4: this is not a value of the tag int"),
        ("a: !!binary aGk=\n", "x.yaml:1:4: the tag binary is not used here"),
        ("a: !mine {b: 1}\n", "x.yaml:1:4: the tag !mine is not used here"),
        ("a: !!set {b}\n", "x.yaml:1:4: the tag set is not used here"),
        (f"a: {'9' * 5000}\n", "x.yaml:1:4: a number with too many digits"),
        ("a: 1\nb: x\0y\n", "x.yaml:2:5: a control character; yaml is text"),
        ('a: "\\UFFFFFFFF"\n', "x.yaml:1:7: not yaml: an impossible escape"),
        ('a: "\\U00110000"\n', "x.yaml:1:7: not yaml: an impossible escape"),
        ('a: "\\ud800"\n', "x.yaml:1:4: half of a surrogate pair is not text"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: not yaml: but found another document"),
        ("a: 'b\n", "x.yaml:2:1: not yaml: found unexpected end of stream"),
    ],
)
def test_refused(text: str, line: str) -> None:
    assert problems(text) == [line]


def test_a_key_that_stands_twice_keeps_the_first_value_and_hides_nothing() -> None:
    document = read("a: 1\na: 2\nb: 3\n")
    assert document.data == {"a": 1, "b": 3}
    assert document.readable


def test_what_cannot_be_read_has_no_data() -> None:
    document = read("a: [\n")
    assert (document.data, document.readable) == (None, False)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping_or_nothing(text: str) -> None:
    assert read(text).data in ({}, None)
    assert read(text).problems == []


def test_a_list_at_the_top_is_data() -> None:
    document = read("- a\n- b\n")
    assert document.data == ["a", "b"]
    assert document.marks[(1,)] == (2, 3)


class TestPositions:
    TEXT = """\
models:
  - name: a
    tags: [x, yy]
  - {name: b,
     deep: {er: 5}}
"""

    @pytest.mark.parametrize(
        ("path", "mark"),
        [
            ((), (1, 1)),
            (("models",), (2, 3)),
            (("models", 0), (2, 5)),
            (("models", 0, "name"), (2, 11)),
            (("models", 0, "tags", 1), (3, 15)),
            (("models", 1), (4, 5)),
            (("models", 1, "deep", "er"), (5, 17)),
        ],
    )
    def test_of_values(self, path: tuple[str | int, ...], mark: tuple[int, int]) -> None:
        assert read(self.TEXT).marks[path] == mark

    def test_of_keys(self) -> None:
        assert read(self.TEXT).keys["models", 1, "deep"] == (5, 6)

    def test_of_what_is_missing_is_its_nearest_parent(self) -> None:
        document = read(self.TEXT)
        document.report(("models", 1, "deep", "est", 3), "is missing")
        assert str(document.problems[0]) == "x.yaml:5:12: models[1].deep.est[3]: is missing"

    def test_after_a_byte_order_mark(self, tmp_path: Path) -> None:
        (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 5\n")
        assert load(tmp_path / "x.yaml").marks["a",] == (1, 4)

    def test_with_windows_line_ends(self) -> None:
        assert read("a: 1\r\nb:\r\n  c: 2\r\n").marks["b", "c"] == (3, 6)

    def test_a_name_that_would_break_the_line_does_not(self) -> None:
        document = read('"a\\nb\\e[31m": 1\n')
        document.report(("a\nb\x1b[31m",), "unknown key", key=True)
        assert str(document.problems[0]) == r"x.yaml:1:1: a\nb\x1b[31m: unknown key"


class TestMergeKeys:
    TEXT = """\
base: &base
  a: {b: 1}
  list: [1, 2]
  only: base
first:
  <<: *base
  a: 2
  list: [3, 4]
last:
  a: 2
  list: [3, 4]
  <<: *base
several:
  <<: [{a: x, b: x}, {a: y, c: y}]
"""

    @pytest.mark.parametrize("name", ["first", "last"])
    def test_own_keys_win_wherever_they_stand(self, name: str) -> None:
        assert read(self.TEXT).data[name] == {"a": 2, "list": [3, 4], "only": "base"}

    def test_the_first_of_several_wins(self) -> None:
        assert read(self.TEXT).data["several"] == {"a": "x", "b": "x", "c": "y"}

    @pytest.mark.parametrize(
        ("path", "mark"),
        [
            (("first", "a"), (7, 6)),
            (("first", "list", 0), (8, 10)),
            (("first", "only"), (4, 9)),
            (("last", "a"), (10, 6)),
            (("last", "list", 1), (11, 13)),
            (("last",), (10, 3)),
            (("several", "a"), (14, 12)),
        ],
    )
    def test_positions(self, path: tuple[str | int, ...], mark: tuple[int, int]) -> None:
        assert read(self.TEXT).marks[path] == mark

    def test_a_quoted_one_is_a_key(self) -> None:
        assert read("a: {'<<': 5}\n").data == {"a": {"<<": 5}}

    def test_values_of_an_anchor_are_not_shared(self) -> None:
        data = read("a: &a {b: []}\nc: *a\n").data
        data["a"]["b"].append(1)
        assert data["c"] == {"b": []}


class TestBounds:
    def test_deep(self) -> None:
        assert read("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)).problems == []
        assert problems("[" * 5_000) == [f"x.yaml:1:{DEEPEST + 1}: more or deeper values than a configuration needs"]

    def test_deep_by_aliases(self) -> None:
        links = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500))
        assert len(problems("a0: &a0 [1]\n" + links)) == 1

    def test_deep_by_merges(self) -> None:
        links = "".join(f"a{n}: &a{n}\n  <<: *a{n - 1}\n" for n in range(1, 500))
        assert len(problems("a0: &a0 {b: 1}\n" + links)) == 1

    def test_aliases_that_multiply(self) -> None:
        links = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20))
        assert len(problems("a0: &a0 [1]\n" + links)) == 1

    def test_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("scribe_router.config.nodes.MOST_NODES", 100)
        assert MOST_NODES > 10_000
        assert problems("- a\n" * 200) == ["x.yaml:100:3: more or deeper values than a configuration needs"]

    def test_long(self, tmp_path: Path) -> None:
        (tmp_path / "x.yaml").write_bytes(b"#" * (documents.MOST_BYTES + 1))
        assert [str(problem) for problem in load(tmp_path / "x.yaml", "x.yaml").problems] == [
            "x.yaml:1:1: more than 2,000,000 bytes are not a configuration"
        ]


class TestFiles:
    def of(self, path: Path) -> list[str]:
        return [str(problem) for problem in load(path, "x.yaml").problems]

    def test_that_is_not_there(self, tmp_path: Path) -> None:
        assert self.of(tmp_path / "x.yaml") == ["x.yaml:1:1: cannot be read: no such file or directory"]

    def test_that_is_a_folder(self, tmp_path: Path) -> None:
        assert self.of(tmp_path) == ["x.yaml:1:1: cannot be read: is a directory"]

    @pytest.mark.parametrize("content", [b"a: 1\nb: \xff\n", "a: 1\nb: é\n".encode("latin-1")])
    def test_that_is_not_utf8(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.yaml").write_bytes(content)
        assert self.of(tmp_path / "x.yaml") == ["x.yaml:2:1: this is not UTF-8 text; save the file as UTF-8"]

    def test_that_is_utf16(self, tmp_path: Path) -> None:
        (tmp_path / "x.yaml").write_text("a: 1\n", encoding="utf-16")
        assert self.of(tmp_path / "x.yaml") == ["x.yaml:1:1: this is not UTF-8 text; save the file as UTF-8"]


class TestSharedWithLiteLLM:
    """What LiteLLM's loader reads differently is a problem, in the file that both read."""

    @pytest.mark.parametrize("text", ["true", "1.5", "2.0e-6", "0x1F", "~", "'off'", "gpt-5", "!!str off", "off-peak"])
    def test_alike(self, text: str) -> None:
        assert problems(f"a: {text}\n", shared=True) == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("off", "reads off as false; quote it, or write false"),
            ("Yes", "reads Yes as true; quote it, or write true"),
            ("1:30", "reads 1:30 as the number 90; quote it, or write 90"),
            ("0b11", "reads 0b11 as the number 3; quote it, or write 3"),
            ("010", "reads 010 as the number 8; quote it, or write 10"),
            ("2026-12-31", "reads 2026-12-31 as a date; quote it"),
            ("1e3", "reads 1e3 as text; write it with a point and a sign, like 1.0e-6"),
            ("0o17", "reads 0o17 as text; write it as 15"),
        ],
    )
    def test_differently(self, text: str, message: str) -> None:
        warning = "warning: " if " as text" in message else ""
        assert problems(f"a: {text}\n", shared=True) == [
            f"x.yaml:1:4: {warning}a: LiteLLM's loader (YAML 1.1) {message}"
        ]

    @pytest.mark.parametrize("text", ["=", "2026-99-99"])
    def test_not_at_all(self, text: str) -> None:
        assert problems(f"a: {text}\n", shared=True) == [
            f"x.yaml:1:4: a: LiteLLM's loader (YAML 1.1) cannot read {text}; quote it"
        ]

    @pytest.mark.parametrize(
        ("key", "as_"), [("off", "false"), ("1", "the number 1"), ("1.5", "the number 1.5"), ("2026-12-31", "a date")]
    )
    def test_keys(self, key: str, as_: str) -> None:
        assert problems(f"{key}: 5\n", shared=True) == [
            f"x.yaml:1:1: {key}: LiteLLM's loader (YAML 1.1) reads {key} as {as_}; quote it"
        ]

    def test_other_files_are_ours_alone(self) -> None:
        assert problems("off: no\n1: 1e3\n") == []

"""The audit log: whole lines from several processes, nothing secret in it, nothing that a caller wrote unescaped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scribe_router.audit import LONGEST, MOST_ADDRESSES, MOST_REFUSED, Actor, Audit

NOW, ANN = 1_795_170_000.25, Actor("ann", "192.0.2.7")
KEY = "sk-scribe-000102030405557851-BgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCU"
WRITER = """
import sys
from pathlib import Path
from scribe_router.audit import Actor, Audit
audit = Audit(Path(sys.argv[1]))
for number in range(300):
    audit.write(1.0, Actor(sys.argv[2], "x" * 100), "act", "done", number=number)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_line(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "a" / "audit.jsonl")
    audit.write(NOW, ANN, "keys.create", "done", key="bob", nothing=None, attempts=["a", "b"])
    audit.write(NOW, Actor("", "local"), "GET /v1/models", "invalid_api_key", status=401)
    assert lines(tmp_path / "a" / "audit.jsonl") == [
        {"time": "2026-11-20T10:20:00.250+00:00", "actor": "ann", "address": "192.0.2.7", "act": "keys.create",
         "outcome": "done", "key": "bob", "attempts": ["a", "b"]},
        {"time": "2026-11-20T10:20:00.250+00:00", "actor": "", "address": "local", "act": "GET /v1/models",
         "outcome": "invalid_api_key", "status": 401},
    ]  # fmt: skip
    assert (tmp_path / "a" / "audit.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["a\nb", "a\r\n{}", "\x00\x1b[31m", "é\u2028\u202e", "\ud800", '"}'])
def test_what_others_wrote_is_one_value_of_one_line(tmp_path: Path, text: str) -> None:
    Audit(tmp_path / "audit").write(NOW, Actor(text, text), text, text, more=text, several=[text])
    (found,) = lines(tmp_path / "audit")
    assert [found[name] for name in ("actor", "address", "act", "outcome", "more")] == [text] * 5


def test_it_is_bounded(tmp_path: Path) -> None:
    Audit(tmp_path / "audit").write(NOW, ANN, "x" * 10**6, "done", several=["y" * 999] * 999)
    (found,) = lines(tmp_path / "audit")
    assert len(found["act"]) == LONGEST + 1
    assert (len(found["several"]), {len(each) for each in found["several"]}) == (LONGEST, {LONGEST + 1})


@pytest.mark.parametrize("text", [KEY, f"GET /v1/models/{KEY}", f"x{KEY}y", "sk-proj-0123456789abcdef", KEY * 9])
def test_no_key_is_in_it(tmp_path: Path, text: str) -> None:
    Audit(tmp_path / "audit").write(NOW, ANN, text, "done", several=[text])
    assert KEY[-43:] not in (tmp_path / "audit").read_text()
    assert "0123456789abcdef" not in (tmp_path / "audit").read_text()


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = lines(path)
    for name in "abc":
        assert [each["number"] for each in found if each["actor"] == name] == list(range(300))


def test_a_flood_of_refusals_is_a_few_lines_and_a_count(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    for number in range(1_000):
        audit.refused(NOW, Actor("", "192.0.2.7"), "GET /", "invalid_api_key", number=number)
    audit.refused(NOW, Actor("", "192.0.2.8"), "GET /", "invalid_api_key")
    audit.write(NOW, ANN, "keys.create", "done")
    audit.refused(NOW + 1, Actor("", "192.0.2.7"), "GET /", "invalid_api_key")
    audit.refused(NOW + 1, Actor("", "192.0.2.7"), "GET /", "invalid_api_key")
    found = lines(tmp_path / "audit")
    assert [each.get("number") for each in found[:MOST_REFUSED]] == list(range(MOST_REFUSED))
    assert [each["address"] for each in found[MOST_REFUSED:]] == ["192.0.2.8", "192.0.2.7", "192.0.2.7", "192.0.2.7"]
    assert [each.get("left_out") for each in found[MOST_REFUSED:]] == [None, None, 1_000 - MOST_REFUSED, None]


def test_a_flood_from_everywhere_takes_no_memory_and_loses_no_count(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    for number in range(MOST_ADDRESSES * 3):
        for _ in range(MOST_REFUSED + 1 if number < 5 else 1):
            audit.refused(NOW, Actor("", str(number)), "GET /", "invalid_api_key")
    assert len(audit._floods) <= MOST_ADDRESSES
    assert sum(each.get("left_out", 0) for each in lines(tmp_path / "audit")) == 5


def test_it_may_be_moved_away(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    audit.write(NOW, ANN, "one", "done")
    (tmp_path / "audit").rename(tmp_path / "old")
    audit.write(NOW, ANN, "two", "done")
    assert [lines(tmp_path / name)[0]["act"] for name in ("old", "audit")] == ["one", "two"]


def test_one_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audit = Audit(tmp_path)
    for _ in range(3):
        audit.write(NOW, ANN, "one", "done")
    assert audit.lost == 3
    assert len([each for each in caplog.records if "cannot be written" in each.message]) == 1
    Audit(None).write(NOW, ANN, "one", "done")

"""The journal's files: how they are renamed and deleted, several writers at once, and how one line is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router import journal as module
from scribe_router.exchange import Call, Exchange
from scribe_router.journal import Journal, NotRecorded, older, recall
from scribe_router.principals import LOCAL
from scribe_router.record import Record
from scribe_router.registry import Keep
from tests.support.examples import examples

DAY = 86_400.0
NOW = 1_795_000_000.0
SMALL = Keep(most=1_000)  # some two lines


def identity(number: int) -> str:
    return f"ex-{number:024x}"


def exchange(number: int, opened: float = NOW) -> Exchange:
    return Exchange(identity(number), Call("chat", {"model": "m"}), LOCAL, "v", opened, "m")


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def written(path: Path) -> list[str]:
    """All lines, the oldest first."""
    return [each for part in (*reversed(older(path)), path) for each in ids(part)]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def test_a_full_file_makes_way_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "j.jsonl"
    journal = Journal(path, clock=Clock(), keep=SMALL)
    for number in range(8):
        journal.write(exchange(number))
    journal.close()
    assert len(Record.of(exchange(0)).line()) in range(334, 500), "two of them fit, three do not"
    assert [each.name for each in older(path)] == ["j.jsonl.3", "j.jsonl.2", "j.jsonl.1"]
    assert [ids(each) for each in (*reversed(older(path)), path)] == [
        [identity(number), identity(number + 1)] for number in range(0, 8, 2)
    ]
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in (path, *older(path)))


def test_so_many_files_are_kept_and_no_strangers_deleted(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.jsonl", Clock()
    strangers = [tmp_path / name for name in ("j.jsonl.old", "j.jsonl.1.gz", "k.jsonl.1")]
    for each in strangers:
        each.write_text("not mine")
    journal = Journal(path, clock=clock, keep=Keep(most=1, files=3))
    for number in range(9):
        journal.write(exchange(number))
    journal.close()
    assert written(path) == [identity(number) for number in (6, 7, 8)]
    assert all(each.read_text() == "not mine" for each in strangers)


@pytest.mark.parametrize("files", [1, 2, 5])
def test_no_line_is_kept_for_longer_than_it_may(tmp_path: Path, files: int) -> None:
    """A line every hour for three weeks: after each, what is there is at most a week old, and not much less is."""
    path, clock = tmp_path / "j.jsonl", Clock()
    keep = Keep(files=files)
    journal = Journal(path, clock=clock, keep=keep)
    for hour in range(24 * 21):
        clock.now = NOW + hour * 3_600.0
        journal.write(exchange(hour, clock.now))
        os.utime(path, (clock.now, clock.now))  # the disk's clock is not the test's
        age = hour - int(written(path)[0][3:], 16)
        assert age <= 24 * 7 + 1
        assert len(older(path)) < files
        if files > 1 and hour > 24 * 8:
            assert age >= 24 * 7 * (1 - 2 / files), "it is not deleted long before its time"
    journal.close()


def test_what_another_process_began_is_as_old_as_its_first_line(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.jsonl", Clock()
    Journal(path, clock=clock).write(exchange(1, NOW))
    clock.now = NOW + 2 * DAY
    journal = Journal(path, clock=clock)
    journal.write(exchange(2, clock.now))
    journal.close()
    assert ids(path) == [identity(2)]


WRITER = """
import sys
from pathlib import Path
from tests.test_journal_files import Journal, Keep, exchange
start, count, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
journal = Journal(path, keep=Keep(most=4_000, files=1_000))
for number in range(start, start + count):
    journal.write(exchange(number))
assert journal.lost == 0
"""


def test_several_processes_lose_no_line(tmp_path: Path) -> None:
    path, count = tmp_path / "j.jsonl", 400
    command = [sys.executable, "-c", WRITER]
    root = str(Path(__file__).parent.parent)
    writers = [
        subprocess.Popen([*command, str(start * count), str(count), str(path)], cwd=root, env={**os.environ})
        for start in range(3)
    ]
    assert [each.wait(50) for each in writers] == [0, 0, 0]
    assert sorted(written(path)) == [identity(number) for number in range(3 * count)]
    assert len(older(path)) > 50, "they did rename it"
    assert all(each.stat().st_size <= 4_000 for each in older(path))


def test_a_file_that_somebody_took_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.write(exchange(1))
    path.rename(tmp_path / "taken")
    journal.write(exchange(2))
    journal.close()
    assert (ids(tmp_path / "taken"), ids(path)) == ([identity(1)], [identity(2)])


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    torn = Record.of(exchange(2)).line()[:100]
    path.write_bytes(Record.of(exchange(1)).line() + torn)
    assert recall(str(path), identity(1))["id"] == identity(1)
    with pytest.raises(NotRecorded):
        recall(str(path), identity(2))
    journal = Journal(path)
    journal.write(exchange(3))
    journal.close()
    assert recall(str(path), identity(3))["id"] == identity(3)
    assert recall(str(path), identity(1))["id"] == identity(1)


def test_a_disk_that_takes_half_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files is what a full disk looks like to a write."""
    script = """
import resource, signal, sys
from pathlib import Path
from tests.test_journal_files import Journal, exchange, identity
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
journal.write(exchange(1))
full = Path(sys.argv[1]).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (full + 100, resource.RLIM_INFINITY))
journal.write(exchange(2))
journal.write(exchange(3))
assert journal.lost == 2, journal.lost
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.write(exchange(4))
assert journal.lost == 2
"""
    path, root = tmp_path / "j.jsonl", str(Path(__file__).parent.parent)
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=50, cwd=root)
    assert recall(str(path), identity(1))["id"] == identity(1)
    assert recall(str(path), identity(4))["id"] == identity(4)


@given(st.data())
@settings(max_examples=examples(60), deadline=None)
def test_a_line_is_found_wherever_a_block_ends(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("found")
    lengths = data.draw(st.lists(st.integers(0, 120), min_size=1, max_size=8))
    lines = [
        f'{{"id":"{identity(number)}","x":"{chr(97 + number) * length}"}}\n' for number, length in enumerate(lengths)
    ]
    cut = data.draw(st.integers(0, len(lines)))
    (folder / "j.1").write_text("".join(lines[:cut]))
    (folder / "j").write_text("".join(lines[cut:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", data.draw(st.integers(1, 200)))
        for number, line in enumerate(lines):
            assert recall(str(folder / "j"), identity(number)) == json.loads(line)
        with pytest.raises(NotRecorded):
            recall(str(folder / "j"), identity(99))


@pytest.mark.parametrize(
    ("journal", "asked", "said"),
    [
        (None, identity(1), "there is no journal to look into; switch it on with journal: FILE in policies/store.yaml"),
        ("j", "ex-1", "ex-1 is no id of an exchange: that is ex- and 24 digits, as in x-scribe-request-id"),
        ("j", "ex-\n" * 20, "ex-?ex-?ex-?ex-?ex-?ex-?ex-?ex-?ex-?ex-? is no id of an exchange"),
        ("j", identity(7), f"{identity(7)} is not in {{}}: it is under way, or older than what is kept there"),
        ("no/such/folder/j", identity(7), f"{identity(7)} is not in {{}}: it is under way, or older"),
    ],
)
def test_what_is_said_of_what_is_not_there(tmp_path: Path, journal: str | None, asked: str, said: str) -> None:
    Journal(tmp_path / "j").write(exchange(1))
    path = None if journal is None else str(tmp_path / journal)
    with pytest.raises(NotRecorded) as problem:
        recall(path, asked)
    assert str(problem.value).startswith(said.format(path))

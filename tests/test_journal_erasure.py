"""One user's lines go out of every part of the journal, and no other line with them, whoever writes meanwhile."""

import json
import threading
from pathlib import Path

from scribe_router import journal_erasure
from scribe_router.exchange import Call, Exchange
from scribe_router.journal import Journal, older
from scribe_router.principals import Principal
from scribe_router.registry import Keep


def exchange(user: str, number: int) -> Exchange:
    call = Call("chat", {"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    return Exchange(f"ex-{number:024x}", call, Principal("k", user), "v", float(number), "m")


def test_lines_that_come_meanwhile_are_kept(tmp_path: Path) -> None:
    """Two writers fill and rename parts while the lines of one user are taken out again and again."""
    path, stop = tmp_path / "j", threading.Event()
    keep = Keep(most=20_000, files=1_000)

    def write(part: int) -> None:
        journal = Journal(path, keep=keep)
        for number in range(part * 1_000, part * 1_000 + 600):
            journal.write(exchange("ann" if number % 3 == 0 else f"bob-{part}", number))
        journal.close()
        assert journal.lost == 0

    def erase() -> None:
        while not stop.is_set():
            journal_erasure.erase(path, "ann")

    writers = [threading.Thread(target=write, args=(part,)) for part in (1, 2)]
    eraser = threading.Thread(target=erase)
    for each in (*writers, eraser):
        each.start()
    for each in writers:
        each.join()
    stop.set()
    eraser.join()
    journal_erasure.erase(path, "ann")
    lines = [json.loads(line) for part in (path, *older(path)) for line in part.read_bytes().splitlines()]
    expected = {f"ex-{n:024x}" for part in (1, 2) for n in range(part * 1_000, part * 1_000 + 600) if n % 3}
    assert sorted(each["id"] for each in lines) == sorted(expected)
    assert not list(tmp_path.glob(".*"))


def test_torn_lines_and_what_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j"
    other = {"id": "2", "user": "bob", "note": "ann"}
    path.write_bytes(b'{"id":"1","user":"ann","mo\n' + json.dumps(other).encode() + b'\n{"id":"3","user":"bo\n')
    (tmp_path / ".j.erasing").write_bytes(b"the rest of an attempt that was cut off, and longer than what is to come")
    was = path.stat()
    assert [each["id"] for each in journal_erasure.lines_of(path, "bob")] == ["2"]
    assert journal_erasure.erase(path, "ann") == 1
    assert path.read_bytes() == json.dumps(other).encode() + b'\n{"id":"3","user":"bo\n'
    assert (path.stat().st_mtime_ns, path.stat().st_mode & 0o777) == (was.st_mtime_ns, 0o600)
    assert journal_erasure.erase(path, "ann") == 0
    assert journal_erasure.erase(tmp_path / "nothing", "ann") == 0

"""The journal: a file with one JSON line for each finished exchange, older parts beside it, and how a line is found.

Several processes write to one file: a line is one write, and whoever finds the file full renames it under a lock that
every write holds. A disk that is full never fails a request: it is said once, and counted.
"""

import fcntl
import json
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from scribe_router.errors import ScribeError
from scribe_router.exchange import Exchange, Json
from scribe_router.money import usd
from scribe_router.record import Record
from scribe_router.registry import Keep

log = logging.getLogger("scribe_router.journal")
LOOK = 60.0  # seconds after which a process looks again for what has become too old
BLOCK = 1 << 18  # bytes that are searched at a time
_IDENTITY = re.compile(r"ex-[0-9a-f]{24}")
_OPENED = re.compile(rb'"opened":([0-9.e+]+)')


class NotRecorded(ScribeError):
    """Nothing is known of this exchange; the message says why, and what to do."""


class Journal:
    """Appends to one file; several processes may share it. Parts that are full or old are renamed to `NAME.1`,
    `NAME.2` and so on, the newest has the highest number; those that are not kept are deleted as requests come."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time, keep: Keep | None = None) -> None:
        self._path, self._clock, self._keep = path, clock, keep or Keep()
        self._lock = threading.Lock()
        self._file: int | None = None
        self._began, self._torn, self._look_at = 0.0, False, 0.0
        self.lost = 0

    def write(self, exchange: Exchange) -> None:
        """Append the line of a finished exchange."""
        if self._path is None:
            return
        line, now = Record.of(exchange).line(), self._clock()
        try:
            with self._lock:
                self._append(self._path, line, now)
                if now >= self._look_at:
                    self._look_at = now + LOOK
                    self._delete(self._path, now)
        except OSError as error:
            self.lost += 1
            if self.lost == 1:
                log.error("the journal %s cannot be written: %s; requests go on without it", self._path, error.strerror)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._let_go()

    def _append(self, path: Path, line: bytes, now: float) -> None:
        file = self._writable(path, len(line), now)
        try:
            line = b"\n" + line if self._torn else line
            self._torn = os.write(file, line) < len(line)
            if self._torn:
                raise OSError(0, "the disk is full")
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _writable(self, path: Path, size: int, now: float) -> int:
        """The file with room for so many bytes, which nobody renames before it is unlocked."""
        while True:
            file = self._file if self._file is not None else self._open(path, now)
            fcntl.flock(file, fcntl.LOCK_SH)
            if same_file(file, path):
                if not self._is_over(file, size, now):
                    return file
                fcntl.flock(file, fcntl.LOCK_EX)  # between the two locks another process may have been here
                if same_file(file, path):
                    newest = next((int(each.suffix[1:]) for each in older(path)), 0)
                    path.rename(f"{path}.{newest + 1}")
                    self._look_at = now
            self._let_go()

    def _open(self, path: Path, now: float) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._release = weakref.finalize(self, os.close, self._file)  # a router may be dropped without being closed
        size = os.fstat(self._file).st_size
        began = _OPENED.search(os.pread(self._file, 200, 0))
        self._began = float(began[1]) if began else now
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        return self._file

    def _is_over(self, file: int, size: int, now: float) -> bool:
        has = os.fstat(file).st_size
        return has > 0 and (has + size > self._keep.most or now - self._began > self._keep.span)

    def _delete(self, path: Path, now: float) -> None:
        """Delete the parts that are too many or too old."""
        oldest = now - self._keep.seconds + self._keep.span  # of a last line, so that the first one is in time too
        for place, each in enumerate(older(path), 1):
            with suppress(FileNotFoundError):  # another process was faster
                if place >= self._keep.files or each.stat().st_mtime < oldest:
                    each.unlink()

    def _let_go(self) -> None:
        if self._file is not None:
            self._release()
            self._file = None


def same_file(file: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def older(path: Path) -> list[Path]:
    """The older parts of a journal, the newest first."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    found = [each for each in beside if each.stem == path.name and each.suffix[1:].isdecimal()]
    return sorted(found, key=lambda each: -int(each.suffix[1:]))


def recall(journal: str | None, identity: str) -> Json:
    """The line of a past exchange, sought from the end of the newest part. Raises `NotRecorded`."""
    if not _IDENTITY.fullmatch(identity):
        shown = "".join(letter if letter.isprintable() else "?" for letter in identity[:40])
        raise NotRecorded(f"{shown} is no id of an exchange: that is ex- and 24 digits, as in x-scribe-request-id")
    if journal is None:
        raise NotRecorded("there is no journal to look into; switch it on with journal: FILE in policies/store.yaml")
    for part in _newest_first(Path(journal)):
        with suppress(FileNotFoundError), part.open("rb") as file:
            line = _line(file, b'{"id":"%s"' % identity.encode())
            with suppress(ValueError):  # a torn line is none
                return dict(json.loads(line))
    raise NotRecorded(f"{identity} is not in {journal}: it is under way, or older than what is kept there")


def _newest_first(path: Path) -> Iterator[Path]:
    """The parts of a journal. Older ones are looked for last: what is renamed meanwhile is read twice, not missed."""
    yield path
    yield from older(path)


def _line(file: IO[bytes], start: bytes) -> bytes:
    """The last line that starts so, read backwards and a block at a time; empty where there is none."""
    end, carried, start = file.seek(0, os.SEEK_END), b"", b"\n" + start
    while end > 0:
        begin = max(0, end - BLOCK)
        file.seek(begin)
        block = (b"" if begin else b"\n") + file.read(end - begin) + carried
        at = block.rfind(start)
        if at >= 0:
            file.seek(begin + at + (1 if begin else 0))
            return file.readline()
        end, carried = begin, block[: len(start) - 1]
    return b""


def summary(exchange: Exchange) -> str:
    """The exchange in one line for a person."""
    served = exchange.attempts[-1] if exchange.attempts else None
    seconds = (exchange.ended or exchange.opened) - exchange.opened
    unserved = f"cache ({exchange.cache})" if exchange.cache in ("hit", "shared") else "no attempt"
    way = f"{served.deployment} ({served.lane})" if served else unserved
    tries = f", {len(exchange.attempts)} attempts" if len(exchange.attempts) > 1 else ""
    tokens = f", {served.usage.input}+{served.usage.output} tokens" if served and served.usage else ""
    cost = "no price" if exchange.cost is None else f"{usd(exchange.cost)} usd"
    asked = exchange.requested if exchange.plan or not exchange.demand.hipaa else "(no plan)"
    name = "".join(letter if letter.isprintable() else "?" for letter in asked[:100])
    return f"{exchange.id} {name} -> {way}: {exchange.outcome} in {seconds:.3f} s{tries}{tokens}, {cost}"

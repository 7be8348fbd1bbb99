"""The writer's thread: groups, contention, faults of the disk, and its end."""

import asyncio
import gc
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from scribe_router.stores import sqlite, sqlite_writer
from scribe_router.stores.contract import Counter, Granted, Refused, StoreUnavailable
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.stores.sqlite_book import VERSION, Book
from scribe_router.stores.sqlite_writer import Operation
from tests.stores.ledger_rows import DAY, row, settlement
from tests.stores.ledger_threads import threads


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def needs_room(room: threading.Event) -> Operation[Book]:
    """An operation that meets a full disk until there is room; what is queued behind it waits as well."""

    def run(book: Book) -> None:
        book.connection.execute(f"PRAGMA max_page_count = {1_000_000 if room.is_set() else 1}").fetchone()
        book.connection.execute("UPDATE attempts SET usage = ?", (f'"{"x" * 20_000}"',))

    return Operation(run, keep=True)


def open_files(folder: Path) -> list[Path]:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link.readlink() for link in links if link.readlink().is_relative_to(folder)]


async def test_a_group_is_one_transaction(ledger: SqliteLedger) -> None:
    statements: list[str] = []
    await ledger._writer.call(lambda book: book.connection.set_trace_callback(statements.append))

    answers = await asyncio.gather(*(ledger.reserve(row(f"a{number}", 1, DAY), 1) for number in range(120)))

    assert answers == [Granted(1)] * 100 + [Refused(DAY, settled=0, reserved=100)] * 20
    assert 2 <= statements.count("BEGIN IMMEDIATE") < 40


async def test_a_mistake_in_an_operation_fails_it_alone(ledger: SqliteLedger) -> None:
    def wrong(book: Book) -> None:
        book.connection.execute("INSERT INTO counters VALUES ('half', 1, 1)")
        book.connection.execute("INSERT INTO counters VALUES ('half', 1, 1)")

    def worse(book: Book) -> None:
        book.connection.execute("INSERT INTO counters VALUES ('half', 1, 1)")
        raise RuntimeError("worse")

    answers = await asyncio.gather(
        ledger.reserve(row("one", 60, DAY), 60),
        ledger._writer.call(wrong),
        ledger.reserve(row("two", 60, DAY), 60),
        ledger._writer.call(worse),
        ledger.reserve(row("three", 40, DAY), 40),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [Granted, sqlite3.IntegrityError, Refused, RuntimeError, Granted]
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, 0, 100)}


async def test_a_settlement_of_nothing_is_counted_and_logged(
    ledger: SqliteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.settle(settlement("nobody", 7))
    await ledger.flush()

    assert ledger.unknown == 1
    assert "attempt nobody: no such row, its cost of 7 is not counted" in caplog.text
    assert await ledger.reserve(row("one", 5, DAY), 5) == Granted(5)


async def test_a_lost_operation_is_logged(ledger: SqliteLedger, caplog: pytest.LogCaptureFixture) -> None:
    ledger._writer.submit(Operation(lambda book: book.connection.execute("SELECT a FROM void"), keep=True))
    await ledger.flush()
    assert "an operation that nobody waits for failed: no such table: void" in caplog.text


@pytest.mark.parametrize("left", [100, 0], ids=["written", "refused"])
async def test_a_cancelled_reserve_is_settled_at_zero(path: Path, ledger: SqliteLedger, left: int) -> None:
    await ledger.reserve(row("first", 100 - left, DAY), 100 - left)
    with locked(path):
        task = asyncio.create_task(ledger.reserve(row("one", 10, DAY), 10))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ledger.settle(settlement("one", 0))

    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=0, reserved=100 - left)}
    assert ledger.unknown == 0
    assert await ledger.check() == []


async def test_contention_is_waited_for(path: Path, ledger: SqliteLedger) -> None:
    await ledger.flush()
    with locked(path):
        task = asyncio.create_task(ledger.reserve(row("one", 10, DAY), 10))
        await asyncio.sleep(0.3)
        assert not task.done()
    assert await task == Granted(10)


async def test_contention_has_a_deadline_but_keeps_settlements(path: Path, ledger: SqliteLedger) -> None:
    await ledger.reserve(row("one", 10, DAY), 10)
    with locked(path):
        ledger.settle(settlement("one", 4))
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"ledger .*: database is locked; another process holds the file"):
            await ledger.reserve(row("two", 10, DAY), 10)
        assert 0.9 < time.monotonic() - began < 5

    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=0)}
    assert [each["attempt"] for each in await ledger.rows()] == ["one"]


async def test_a_full_disk_keeps_settlements(ledger: SqliteLedger, caplog: pytest.LogCaptureFixture) -> None:
    await ledger.reserve(row("one", 10, DAY), 10)
    room = threading.Event()
    ledger._writer.submit(needs_room(room))
    ledger.settle(settlement("one", 4))
    flushing = asyncio.create_task(ledger.flush())
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"ledger .*: database or disk is full; free some disk space"):
        await ledger.reserve(row("two", 10, DAY), 10)
    assert time.monotonic() - began < 0.9, "a full disk is no contention: waiting does not help the caller"
    assert not flushing.done()
    assert "are kept and tried again" in caplog.text

    room.set()
    await flushing
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=0)}
    assert await ledger.reserve(row("two", 10, DAY), 10) == Granted(10)


async def test_flush_gives_up_and_close_says_what_was_lost(
    ledger: SqliteLedger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FLUSHING", 0.2)
    monkeypatch.setattr(sqlite_writer, "CLOSING", 0.3)
    await ledger.reserve(row("one", 10, DAY), 10)
    ledger._writer.submit(needs_room(threading.Event()))
    ledger.settle(settlement("one", 4))

    with pytest.raises(StoreUnavailable, match="disk is full"):
        await ledger.flush()
    ledger.close()

    assert caplog.text.count("an operation that nobody waits for failed") == 2
    assert threads() == []


async def test_close_writes_what_waits(path: Path, ledger: SqliteLedger) -> None:
    await ledger.reserve(row("one", 10, DAY), 10)
    ledger.settle(settlement("one", 4))
    ledger.close()
    ledger.close()

    assert threads() == []
    assert list(path.with_name("ledger.db.owners").iterdir()) == []
    with pytest.raises(StoreUnavailable, match="closed; open a new one"):
        await ledger.reserve(row("two", 10, DAY), 10)
    with pytest.raises(StoreUnavailable, match="closed; open a new one"):
        ledger.settle(settlement("one", 4))
    again = SqliteLedger(path)
    assert await again.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=0)}
    again.close()


async def test_closing_what_was_never_used_leaves_nothing(path: Path, ledger: SqliteLedger) -> None:
    ledger.close()
    assert not path.parent.exists()


async def test_dropping_without_close_leaks_nothing(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.reserve(row("one", 10, DAY), 10)
    ledger.settle(settlement("one", 4))
    assert len(threads()) == 1
    assert open_files(path.parent)

    del ledger
    gc.collect()

    assert threads() == []
    assert open_files(path.parent) == []
    again = SqliteLedger(path)
    assert await again.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=0)}
    again.close()


def test_any_number_of_threads_and_loops(ledger: SqliteLedger) -> None:
    async def work(name: str) -> None:
        for number in range(40):
            attempt = f"{name}-{number}"
            await ledger.reserve(row(attempt, 2, DAY), 1)
            ledger.settle(settlement(attempt, number % 2))

    workers = [threading.Thread(target=lambda name=f"w{n}": asyncio.run(work(name))) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert asyncio.run(ledger.check()) == []
    assert asyncio.run(ledger.counters()) == {DAY.counter: Counter(DAY.counter, settled=80, reserved=0)}


def test_a_closed_loop_harms_nobody(path: Path, ledger: SqliteLedger) -> None:
    asyncio.run(ledger.flush())
    loop = asyncio.new_event_loop()
    with locked(path):
        waiting = loop.create_task(ledger.reserve(row("one", 10, DAY), 10))
        loop.run_until_complete(asyncio.sleep(0.05))
        waiting.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    ledger.settle(settlement("one", 0))
    assert asyncio.run(ledger.counters()) == {DAY.counter: Counter(DAY.counter, settled=0, reserved=0)}


async def test_sweeping_recurs(path: Path) -> None:
    dead = SqliteLedger(path)
    ledger = SqliteLedger(path, sweep_every=0.05)
    await ledger.flush()
    await dead.reserve(row("one", 10, DAY), 10)
    dead.close()

    for _ in range(100):
        await asyncio.sleep(0.02)
        if (await ledger.counters())[DAY.counter].settled:
            break

    assert (await ledger.rows())[0]["mark"] == "swept"
    ledger.close()


def text_file(path: Path) -> None:
    path.write_text("no database " * 500)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


BAD_PLACES = [
    ("not a database", text_file, "file is not a database; move the file away, or name another path"),
    ("a folder", Path.mkdir, "unable to open database file; give this process write access to the file and its folder"),
    ("a newer schema", newer, f"has schema version 99, this program knows {VERSION}; use a newer program"),
]


@pytest.mark.parametrize(("name", "prepare", "message"), BAD_PLACES, ids=[each[0] for each in BAD_PLACES])
async def test_a_bad_place(tmp_path: Path, name: str, prepare: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "ledger.db"
    prepare(path)
    ledger = SqliteLedger(path)
    with pytest.raises(StoreUnavailable) as problem:
        await ledger.reserve(row("one"), 10)
    ledger.close()
    assert str(problem.value) == f"ledger {path}: {message}"
    assert open_files(tmp_path) == []


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = SqliteLedger(tmp_path / "file" / "ledger.db")
    with pytest.raises(StoreUnavailable, match=r"ledger .*: (not a directory|file exists); look at the disk"):
        await ledger.reserve(row("one"), 10)
    ledger.close()


async def test_it_recovers_when_the_place_does(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    text_file(path)
    ledger = SqliteLedger(path)
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(row("one"), 10)
    path.unlink()
    assert await ledger.reserve(row("one"), 10) == Granted(10)
    ledger.close()


@pytest.mark.parametrize(("full_sync", "synchronous"), [(False, 1), (True, 2)])
async def test_durability(path: Path, full_sync: bool, synchronous: int) -> None:
    ledger = SqliteLedger(path, full_sync=full_sync)

    def pragmas(book: Book) -> list[object]:
        names = ("synchronous", "journal_mode", "user_version")
        return [book.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    read = await ledger._writer.call(pragmas)
    ledger.close()
    assert read == [synchronous, "wal", VERSION]


async def test_check_finds_a_wrong_counter(ledger: SqliteLedger) -> None:
    await ledger.reserve(row("one", 10, DAY), 10)
    wrong = "UPDATE counters SET reserved = 9, settled = 2"
    await ledger._writer.call(lambda book: book.connection.execute(wrong).rowcount)
    assert await ledger.check() == [
        f"{DAY.counter}: counter says settled 2, reserved 9; rows say settled 0, reserved 10",
    ]

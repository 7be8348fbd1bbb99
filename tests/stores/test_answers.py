"""The stores of answers, all against one contract: in memory, in a file, on one Redis and on a cluster."""

import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scribe_router.stores import answers as module
from scribe_router.stores.answers import Answers, SqliteAnswers
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.redis_answers import RedisAnswers
from tests.stores.redis_servers import Server, cluster, one_server, wait_until

KINDS = ["memory", "disk", "redis", "cluster"]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that a loaded machine slows down is not away."""
    monkeypatch.setattr("scribe_router.stores.redis_answers.SILENT", 20.0)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Answers]:
    opened: Answers
    if request.param in ("redis", "cluster"):
        opened = RedisAnswers(request.getfixturevalue(f"{request.param}_url"))
    else:
        path = tmp_path / "state" / "cache.db" if request.param == "disk" else None
        opened = SqliteAnswers(path, 1000, time.time)
    yield opened
    opened.close()


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    return redis_server.url


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with cluster() as servers:
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in servers)


def test_an_answer_is_found_again(store: Answers) -> None:
    assert store.get("contract-a") is None
    store.put("contract-a", 'p{"naïve": "漢字 \\ud83d"}\n'.encode(), 60)
    store.put("contract-b", b"other", 60)
    assert store.get("contract-a") == 'p{"naïve": "漢字 \\ud83d"}\n'.encode()
    store.put("contract-a", b"newer", 60)
    assert (store.get("contract-a"), store.get("contract-b")) == (b"newer", b"other")


def test_an_answer_ends(store: Answers) -> None:
    store.put("contract-short", b"soon gone", 0.05)
    store.put("contract-long", b"stays", 60)
    wait_until(lambda: store.get("contract-short") is None, "it did not end")
    assert store.get("contract-long") == b"stays"


def test_closing_twice_is_closing_once(store: Answers) -> None:
    store.put("contract-c", b"x", 60)
    store.close()
    store.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "disk"])
def bounded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], SqliteAnswers]]:
    opened: list[SqliteAnswers] = []

    def build(most: int) -> SqliteAnswers:
        opened.append(SqliteAnswers(tmp_path / "cache.db" if request.param == "disk" else None, most, Clock()))
        return opened[-1]

    yield build
    for each in opened:
        each.close()


def test_the_oldest_goes_where_there_is_no_room(bounded: Callable[[int], SqliteAnswers]) -> None:
    store = bounded(100)
    for name in "abcd":
        store.put(name, name.encode() * 30, 60)
    assert [store.get(name) is not None for name in "abcd"] == [False, True, True, True]
    store.put("b", b"B" * 70, 60)  # its own former size counts no more
    assert [store.get(name) is not None for name in "abcd"] == [False, True, False, True]
    store.put("huge", b"x" * 101, 60)
    assert store.get("huge") is None
    assert store.get("b") == b"B" * 70


def test_a_larger_answer_takes_the_place_of_the_one_before_or_none(bounded: Callable[[int], SqliteAnswers]) -> None:
    store = bounded(100)
    store.put("a", b"small", 60)
    store.put("a", b"x" * 101, 60)
    assert store.get("a") is None


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as reader:
        return int(reader.execute("SELECT count(*) FROM answers").fetchone()[0])


def content(path: Path) -> bytes:
    """All that is on the disk."""
    return b"".join(each.read_bytes() for each in path.parent.glob(path.name + "*"))


def test_content_goes_though_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP", 0.05)
    path = tmp_path / "cache.db"
    store = SqliteAnswers(path, 10_000, time.time)
    store.put("a", b"words of a client " * 50, 0.3)
    store.put("b", b"later words " * 50, 0.6)
    assert b"words of a client" in content(path)
    wait_until(lambda: rows(path) == 1, "the first one stays")
    wait_until(lambda: rows(path) == 0, "the second one stays")
    wait_until(lambda: b"words" not in content(path), "the words stay")
    store.close()


def test_what_an_earlier_process_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.db"
    left = SqliteAnswers(path, 10_000, time.time)
    left.put("a", b"left", 0.01)
    left.close()
    assert rows(path) == 1
    monkeypatch.setattr(module, "SWEEP", 0.05)
    store = SqliteAnswers(path, 10_000, time.time)
    assert store.get("b") is None
    wait_until(lambda: rows(path) == 0, "it stays")
    store.close()


def test_a_closed_store_has_no_thread_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    store = SqliteAnswers(tmp_path / "cache.db", 1000, time.time)
    store.put("a", b"x", 3600)
    assert set(threading.enumerate()) - before
    store.close()
    wait_until(lambda: not set(threading.enumerate()) - before, "its sweeper runs on")


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.db"
    store = SqliteAnswers(path, 1000, time.time)
    store.put("a", b"x", 60)
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
    store.close()


def test_processes_share_a_file(tmp_path: Path) -> None:
    one, other = (SqliteAnswers(tmp_path / "cache.db", 100, time.time) for _ in range(2))
    one.put("a", b"x" * 60, 60)
    assert other.get("a") == b"x" * 60
    other.put("b", b"y" * 60, 60)
    assert one.get("a") is None
    one.close()
    other.close()


def broken_file(path: Path) -> None:
    path.write_bytes(b"this is no database, and longer than its header has to be for that " * 10)


@pytest.mark.parametrize("spoil", [broken_file, Path.mkdir], ids=["file", "folder"])
def test_a_file_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / "cache.db")
    store = SqliteAnswers(tmp_path / "cache.db", 1000, time.time)
    with pytest.raises(StoreUnavailable):
        store.put("a", b"x", 60)
    with pytest.raises(StoreUnavailable):
        store.get("a")
    store.close()


def test_a_file_that_another_holds(tmp_path: Path) -> None:
    store = SqliteAnswers(tmp_path / "cache.db", 1000, time.time)
    store.put("a", b"x", 60)
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.put("b", b"y", 60)
        assert store.get("a") == b"x"
        other.execute("ROLLBACK")
    store.put("b", b"y", 60)
    store.close()


def test_a_redis_that_is_away_and_comes_back() -> None:
    with one_server() as server:
        store = RedisAnswers(server.url)
        store.put("a", b"x", 60)
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.get("a")
        server.start()

        def back() -> bool:
            try:
                return store.get("a") == b"x"
            except StoreUnavailable:
                return False

        wait_until(back, "it was not connected anew")
        store.close()


def test_a_redis_without_room() -> None:
    with one_server(maxmemory="1mb") as server:
        store = RedisAnswers(server.url)
        with pytest.raises(StoreUnavailable, match="memory"):
            store.put("a", b"x" * 2_000_000, 60)
        store.close()


def test_no_password_is_in_its_name() -> None:
    assert RedisAnswers("redis://user:secret@127.0.0.1:1").place == "redis://127.0.0.1:1"

"""State that outlives a request. A store keeps rows and counters exact; it does not know what a budget means."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scribe_router.stores.contract import Ledger
from scribe_router.stores.keys import Keys
from scribe_router.stores.windows import MemoryWindows, Windows

REDIS = ("redis", "rediss", "redis+cluster", "rediss+cluster")


def open_ledger(url: str, durability: str = "normal") -> Ledger:
    """The ledger that a URL names: `sqlite:PATH`, `redis://HOST:PORT`, or `redis+cluster://HOST:PORT,HOST:PORT` (each
    also as `rediss`). `durability` is `normal`, `full` (SQLite: a commit outlives a loss of power too) or
    `accepted-loss` (also a Redis that may forget what it acknowledged). Raises `ValueError` for any other URL."""
    scheme, _, path = url.partition(":")
    if scheme in REDIS:
        from scribe_router.stores.redis import RedisLedger

        return RedisLedger(url, accepted_loss=durability == "accepted-loss")
    if scheme != "sqlite" or not path:
        raise ValueError(f"a ledger is named sqlite:PATH, redis://HOST or redis+cluster://HOST, found {url!r}")
    from scribe_router.stores.sqlite import SqliteLedger

    return SqliteLedger(Path(path), full_sync=durability == "full")


def open_windows(url: str, clock: Callable[[], float]) -> Windows:
    """Where limits of rate are counted: on the Redis of the ledger at `url`, by its own clock, else in this process."""
    if url.partition(":")[0] not in REDIS:
        return MemoryWindows(clock)
    from scribe_router.stores.redis_windows import RedisWindows

    return RedisWindows(url)


def open_keys(url: str, durability: str = "normal", *, patient: bool = False) -> Keys:
    """The virtual keys in the store of the ledger at `url`. Requests give a silent Redis up soon; where only an
    operator waits, `patient`, it has five seconds."""
    scheme, _, path = url.partition(":")
    if scheme in REDIS:
        from scribe_router.stores.redis_keys import PATIENT, SOON, RedisKeys

        return RedisKeys(url, accepted_loss=durability == "accepted-loss", deadline=PATIENT if patient else SOON)
    from scribe_router.stores.sqlite_keys import SqliteKeys

    return SqliteKeys(Path(path), full_sync=durability == "full")


@contextmanager
def existing_ledger(url: str, durability: str) -> Iterator[Ledger]:
    """The ledger at `url`, closed at the end. Raises `ValueError` where there is none: looking makes no file."""
    scheme, _, path = url.partition(":")
    if scheme == "sqlite" and not Path(path).exists():
        raise ValueError(f"there is no ledger at {path} yet; it comes with the first call")
    ledger = open_ledger(url, durability)
    try:
        yield ledger
    finally:
        ledger.close()

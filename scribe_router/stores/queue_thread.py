"""A queue and the one thread that empties it, in the process that first used it.

It knows threads and forks; never what the work is, nor what it is written to.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from scribe_router.stores.contract import StoreUnavailable

W = TypeVar("W")


class QueueThread(Generic[W]):
    """Any thread and any event loop may submit work; the thread starts with the first, and runs `run`, which is to end
    soon after it finds None in the queue. `closing` is how long that may take at most, in seconds."""

    def __init__(self, place: str, run: Callable[[], None], closing: float) -> None:
        self.queue: SimpleQueue[W | None] = SimpleQueue()
        self._place, self._run, self._closing = place, run, closing
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._pid: int | None = None
        self._closed = False

    def submit(self, work: W) -> None:
        """Append to the queue. Raises `StoreUnavailable` when closed, or when opened before a fork."""
        if self._pid not in (None, os.getpid()):
            raise StoreUnavailable(f"{self._place}: opened before a fork; use it first in the child, or spawn")
        with self._lock:
            if self._closed:
                raise StoreUnavailable(f"{self._place}: closed; open a new one")
            if self._thread is None:
                self._start()
            self._append(work)

    def _append(self, work: W) -> None:
        """One at a time: in the order of the queue."""
        self.queue.put(work)

    def close(self) -> None:
        """Let it do what waits, then end the thread. Idempotent; no effect in a fork's child."""
        if self._pid not in (None, os.getpid()):
            return
        with self._lock:
            if self._thread is not None and not self._closed:
                self.queue.put(None)
            self._closed = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self._closing)

    def _start(self) -> None:
        # A daemon, since the interpreter joins other threads before it runs the finalizer that ends this one.
        thread = threading.Thread(target=self._run, name="scribe-ledger", daemon=True)
        try:
            thread.start()
        except RuntimeError as problem:
            raise StoreUnavailable(f"{self._place}: {problem}; open it before the interpreter ends") from problem
        self._thread, self._pid = thread, os.getpid()

"""The queue in front of the one thread that talks to Redis.

Any thread and any event loop may put jobs in; whoever waits hears of the answer in its own loop. `CLOSING`: seconds.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.redis_jobs import Job

CLOSING = 5.0


class Line:
    """The queue and its thread, which starts with the first job. Any thread and any event loop may call."""

    def __init__(self, place: str, run: Callable[["Line"], None]) -> None:
        self._place, self._run = place, run
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._pid: int | None = None
        self._closed = False
        self._numbers = 0

    def submit(self, job: Job) -> None:
        """Append to the queue. Raises `StoreUnavailable` when closed, or when opened before a fork."""
        if self._pid not in (None, os.getpid()):
            raise StoreUnavailable(f"{self._place}: opened before a fork; use it first in the child, or spawn")
        with self._lock:
            if self._closed:
                raise StoreUnavailable(f"{self._place}: closed; open a new one")
            if self._thread is None:
                self._start()
            self._numbers += 1
            job.number = self._numbers
            self.queue.put(job)

    async def answered(self, job: Job, patience: float) -> Any:
        """The answer to a job. Raises `StoreUnavailable`, also when it has no turn within `patience` seconds."""
        loop = asyncio.get_running_loop()
        job.future = future = loop.create_future()
        self.submit(job)
        timer = loop.call_later(patience, self._expire, future, patience)
        try:
            return await future
        finally:
            timer.cancel()

    def _expire(self, future: asyncio.Future[Any], patience: float) -> None:
        if not future.done():
            future.set_exception(StoreUnavailable(f"{self._place}: it had no turn within {patience:.0f} s"))

    def close(self) -> None:
        """Write what waits, then end the thread; at most `CLOSING` seconds. Idempotent; no effect in a fork's child."""
        if self._pid not in (None, os.getpid()):
            return
        with self._lock:
            if self._thread is not None and not self._closed:
                self.queue.put(None)
            self._closed = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * CLOSING)

    def _start(self) -> None:
        # A daemon, since the interpreter joins other threads before it runs the finalizer that ends this one.
        thread = threading.Thread(target=lambda: self._run(self), name="scribe-ledger", daemon=True)
        try:
            thread.start()
        except RuntimeError as problem:
            raise StoreUnavailable(f"{self._place}: {problem}; open it before the interpreter ends") from problem
        self._thread, self._pid = thread, os.getpid()

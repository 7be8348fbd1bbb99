"""The queue in front of the one thread that talks to Redis.

Any thread and any event loop may put jobs in; whoever waits hears of the answer in its own loop. `CLOSING`: seconds.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.queue_thread import QueueThread
from scribe_router.stores.redis_jobs import Job

CLOSING = 5.0


class Line(QueueThread[Job]):
    """The queue of jobs, each with a number. Any thread and any event loop may call."""

    def __init__(self, place: str, run: Callable[["Line"], None]) -> None:
        super().__init__(place, lambda: run(self), 2 * CLOSING)
        self._numbers = 0

    def _append(self, job: Job) -> None:
        self._numbers += 1
        job.number = self._numbers
        super()._append(job)

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

"""A loop of the router's own in a thread, for callers that are not asynchronous. Knows nothing of routing."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class PrivateLoop:
    """Started by the first call; stopped by `close`, or when it is dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: weakref.finalize[..., PrivateLoop] | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine. Raises `RuntimeError` where a loop is running: await the method instead."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(work, self._started()).result()
        work.close()
        raise RuntimeError("a loop is running here: await the method that starts with a")

    def iterate(self, parts: AsyncIterator[T]) -> Generator[T, None, None]:
        """The parts of an asynchronous iterator, one by one; it is closed when the caller stops."""
        loop = self._started()
        end = object()

        async def following() -> Any:
            return await anext(parts, end)

        async def closing() -> None:
            await parts.aclose()  # type: ignore[attr-defined]

        try:
            while (part := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not end:
                yield part
        finally:
            asyncio.run_coroutine_threadsafe(closing(), loop).result()

    def close(self) -> None:
        """Stop the loop and its thread. Idempotent."""
        if self._stop is not None:
            self._stop()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_run, args=(self._loop,), name="scribe-router", daemon=True)
                thread.start()
                self._stop = weakref.finalize(self, _stop, self._loop, thread)
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_end(loop))
        loop.close()


async def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs: LiteLLM leaves a worker in every loop."""
    rest = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await loop.shutdown_asyncgens()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(timeout=5)

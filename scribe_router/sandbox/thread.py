"""The sandbox in a thread with an event loop of its own, for synchronous callers and blocking clients."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, Self

from scribe_router.sandbox.server import Sandbox

PATIENCE: Final = 5.0


class SandboxThread:
    """Runs a sandbox beside the caller. `sandbox` may be read from any thread."""

    def __init__(self, sandbox: Sandbox | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.sandbox = sandbox or Sandbox()
        self._address = (host, port)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="sandbox", daemon=True)

    def start(self) -> None:
        """Returns once it listens. Raises `OSError` when the port is taken."""
        self._thread.start()
        self._started.result(PATIENCE)

    def stop(self) -> None:
        """Returns once the thread has ended; raises `TimeoutError` when it does not within five seconds."""
        if not self._thread.is_alive():
            return
        loop, leave = self._started.result(PATIENCE)
        loop.call_soon_threadsafe(leave.set)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise TimeoutError("the sandbox's thread did not end")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    async def _live(self) -> None:
        try:
            await self.sandbox.start(*self._address)
        except OSError as error:
            self._started.set_exception(error)
            return
        leave = asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), leave))
        await leave.wait()
        await self.sandbox.stop()


@contextmanager
def running_sandbox(sandbox: Sandbox | None = None, host: str = "127.0.0.1", port: int = 0) -> Iterator[Sandbox]:
    """A running sandbox for a `with` block."""
    with SandboxThread(sandbox, host, port) as thread:
        yield thread.sandbox

"""An MCP server as a process of ours: started with little of our environment, read a bounded line at a time, its
complaints in our log.

The process itself, its pipes and its end are the `mcp` package's.
"""

import asyncio
import logging
import os
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from anyio.streams.text import TextReceiveStream
from mcp.client import stdio

log = logging.getLogger("scribe_router.mcp")
LONGEST_LINE = 4 * 1024 * 1024  # letters of one message; the package reads a line of any length, in quadratic time
COMPLAINTS = 5  # lines that are kept of what a server says on its standard error
LONGEST_COMPLAINT = 500


_too_long: ContextVar[Callable[[], None]] = ContextVar("_too_long")


class _Bounded(TextReceiveStream):
    """Text in lines that are no longer than a message may be. The rest of one that is goes nowhere, and is told."""

    _line = 0

    async def receive(self) -> str:
        chunk = await super().receive()
        _, newline, last = chunk.rpartition("\n")
        self._line = len(last) if newline else self._line + len(chunk)
        if self._line <= LONGEST_LINE:
            return chunk
        _too_long.get()()
        return ""


@asynccontextmanager
async def started(
    name: str,
    command: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str | None,
    complaints: deque[str],
    too_long: Callable[[], None],
) -> AsyncIterator[Any]:
    """The transport of a process that is ended with it; its command is sought beside our interpreter, then in PATH.

    What the server says on its standard error goes to the log, and the last lines into `complaints`; `too_long` is
    called for a message that is longer than any may be.
    """
    _too_long.set(too_long)
    stdio.TextReceiveStream = _Bounded  # type: ignore[attr-defined]
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    parameters = stdio.StdioServerParameters(
        command=shutil.which(command, path=beside) or command,
        args=list(arguments),
        env=dict(environment),
        cwd=folder,
        encoding_error_handler="replace",
    )
    reading, writing = os.pipe()
    listener = asyncio.create_task(_listen(name, reading, complaints))
    try:
        with os.fdopen(writing, "w") as errors:
            async with stdio.stdio_client(parameters, errlog=errors) as streams:
                errors.close()  # the process has its own; with ours open the pipe would never end
                yield streams
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _listen(name: str, reading: int, complaints: deque[str]) -> None:
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    pipe = os.fdopen(reading, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    rest = b""
    try:
        while part := await reader.read(65_536):
            *lines, rest = (rest + part).split(b"\n")
            rest = rest[-LONGEST_COMPLAINT:]
            for line in lines[-COMPLAINTS:]:
                text = line.decode(errors="replace")[:LONGEST_COMPLAINT]
                shown = "".join(letter if letter.isprintable() else " " for letter in text).strip()
                if shown:
                    complaints.append(shown)
                    log.info("MCP server %s says: %s", name, shown)
    finally:
        transport.close()

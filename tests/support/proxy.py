"""The proxy as a process of its own: `scribe-router serve` on a free port, ended by its id."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30.0
ROOT = Path(__file__).parents[2]  # this tree is tested, wherever else the package is installed


class Proxy:
    """A running `scribe-router serve`. `url` is `http://127.0.0.1:PORT`."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, output: list[str]) -> None:
        self.process, self.url, self.output = process, url, output

    def kill(self) -> None:
        """`kill -9`, on it alone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@contextmanager
def serving(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[Proxy]:
    """Serve the configuration in `folder`; it is ended when the block is left. `before` stands before the command."""
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "scribe_router", "serve", "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    reader = threading.Thread(target=_read_on, args=(process, output), daemon=True)
    try:
        url = _greeting(process, output)
        reader.start()
        yield Proxy(process, url, output)
    finally:
        _end(process)
        if reader.is_alive():
            reader.join(5)
        if process.stdout is not None:
            process.stdout.close()


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _greeting(process: "subprocess.Popen[str]", output: list[str]) -> str:
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout or ():
            output.append(line)
            if found := re.match(r"scribe_router at (http://\S+)", line):
                return found[1]
    finally:
        watchdog.cancel()
    raise AssertionError("it did not start:\n" + "".join(output))


def _read_on(process: "subprocess.Popen[str]", output: list[str]) -> None:
    output.extend(process.stdout or ())

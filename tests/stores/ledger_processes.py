"""Starting the programs of `ledger_programs.py`, and talking with them line by line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

PROGRAMS = Path(__file__).with_name("ledger_programs.py")


def start(program: str, place: object, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", str(PROGRAMS), program, str(place), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)


@contextmanager
def running(program: str, place: object, *arguments: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A program and its first line; it is killed with no chance to tidy up."""
    process = start(program, place, *arguments)
    try:
        yield process, hear(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def finish(process: "subprocess.Popen[str]") -> str:
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, ""), errors
    return output


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    print(line, file=process.stdin, flush=True)


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()

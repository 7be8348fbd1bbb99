"""The sandbox's MCP server as tests start it, over stdio and over HTTP, and what it executed."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.proxy import ROOT

PATIENCE = 60.0
PROGRAM = "from pathlib import Path; from scribe_router.sandbox.mcp_server import run; run({record}{port})"


def program(record: Path | None = None, port: int | None = None) -> list[str]:
    """The arguments of an interpreter that is the server."""
    given = f"Path({str(record)!r})" if record is not None else "None"
    return ["-c", PROGRAM.format(record=given, port="" if port is None else f", port={port}")]


def stdio(record: Path | None = None, **row: Any) -> dict[str, Any]:
    """A row of policies/mcp.yaml for the server over stdio; it runs this tree."""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return {"command": sys.executable, "arguments": program(record), "environment": environment, **row}


@contextmanager
def over_http(record: Path | None = None) -> Iterator[str]:
    """The server over HTTP, as a process of its own: its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, *program(record, port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                httpx.get(url, timeout=2.0)
                break
            except httpx.TransportError:
                assert process.poll() is None, "the MCP server ended"
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait(10)


def executed(record: Path) -> list[str]:
    """The tools that were executed, by the server's own record."""
    return [json.loads(line)["tool"] for line in record.read_text().splitlines()] if record.exists() else []


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])

"""A Python process of its own that cannot leave this machine: what it wants from outside is noted and refused.

Its proxies are a socket that notes the host of each `CONNECT` and hangs up; what goes round them is refused by an audit
hook, and noted too.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WATCH = """
import os, sys
HERE = ("127.", "::1", "localhost")
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "127."
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    if not host.startswith(HERE) and host not in ("None", "", "0.0.0.0"):
        with open(os.environ["SEEN"], "a") as seen:
            seen.write(f"{event} {host}\\n")
        raise OSError(f"blocked: {event} {host}")
sys.addaudithook(watch)
"""
PROXY = """
import json, os, socket, threading
listening, wanted = socket.create_server(("127.0.0.1", 0)), []
def note():
    while True:
        connection, _ = listening.accept()
        with connection:
            wanted.append(connection.recv(4096).split()[1].decode())
threading.Thread(target=note, daemon=True).start()
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ[name] = os.environ[name.lower()] = "http://127.0.0.1:%d" % listening.getsockname()[1]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
"""


def watched(folder: Path) -> dict[str, str]:
    """An environment in which Python notes and refuses every connection that leaves this machine."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(WATCH)
    paths = os.pathsep.join([str(folder / "hook"), str(ROOT)])
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": paths, "SEEN": str(folder / "seen")}


def seen(environment: Mapping[str, str]) -> str:
    """What was refused so far, a line each."""
    path = Path(environment["SEEN"])
    return path.read_text() if path.exists() else ""


def run(code: str, environment: Mapping[str, str], folder: Path) -> str:
    """The output of a program, which has to succeed."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(environment), cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wants(code: str, folder: Path) -> Any:
    """What a program prints last, as JSON; `wanted` is the list of `host:port` that it asked its proxy for so far."""
    environment = watched(folder)
    printed = run(PROXY + textwrap.dedent(code), environment, folder)
    assert seen(environment) == "", "it went round its proxy"
    return json.loads(printed.splitlines()[-1])

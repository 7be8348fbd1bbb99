"""What a person does first: clone, `make serve`, ask. In a bare environment, in a folder whose name has a space."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BODY = b'{"model": "echo", "messages": [{"role": "user", "content": "hello"}]}'
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def clone(target: Path) -> None:
    """The files that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, stdout=-1, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if source.is_symlink() or source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                (target / name).symlink_to(source.readlink())
            else:
                (target / name).write_bytes(source.read_bytes())
                (target / name).chmod(source.stat().st_mode)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ask(port: int) -> bytes | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        return connection.getresponse().read()
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def test_make_serve_in_a_fresh_clone(tmp_path: Path) -> None:
    folder, home = tmp_path / "a clone", tmp_path / "home"
    home.mkdir()
    clone(folder)
    machine = {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("CERT_FILE")
    }
    bare = {**machine, "PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHON": sys.executable}
    port = free_port()
    with (tmp_path / "said").open("w") as said:
        served = subprocess.Popen(["make", "serve", f"PORT={port}"], cwd=folder, env=bare, stdout=said, stderr=said)
    try:
        while (answer := ask(port)) is None:
            assert served.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.2)
    finally:
        served.send_signal(signal.SIGTERM)
        served.wait(40)
    assert b'"content":"hello"' in answer
    assert "curl" in (tmp_path / "said").read_text()
    assert not list(home.iterdir()), "it wrote into the home of whoever ran it"

    began = time.monotonic()
    subprocess.run(["make", "serve", "ARGS=--help"], cwd=folder, env=bare, check=True, timeout=60, stdout=-1)
    assert time.monotonic() - began < 5
    shutil.rmtree(folder)  # pytest would keep three of them, of half a gigabyte each

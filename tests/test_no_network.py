"""Importing and starting opens no connection to the outside: an audit hook sees every attempt of the process."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.proxy import serving

ROOT = Path(__file__).parent.parent
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
JOB = """
from scribe_router import Router
router = Router.from_yaml({config!r}, sandbox=True)
for model in ("echo", "echo-anthropic", "echo-gemini", "gpt-6-luna"):
    answer = router.completion(model=model, messages=[{{"role": "user", "content": "hello there"}}])
    assert answer.choices[0].message.content == "hello there", answer
    parts = router.completion(model=model, messages=[{{"role": "user", "content": "hello there"}}], stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "hello there"
router.embedding(model="embed", input=["a", "b"])
router.close()
print("done")
"""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python notes and refuses every connection that leaves this machine."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(WATCH)
    paths = os.pathsep.join([str(tmp_path / "hook"), str(ROOT)])
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": paths, "SEEN": str(tmp_path / "seen")}


def seen(environment: dict[str, str]) -> str:
    path = Path(environment["SEEN"])
    return path.read_text() if path.exists() else ""


def run(code: str, environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_hook_sees_what_it_should(watched: dict[str, str], tmp_path: Path) -> None:
    code = "import urllib.request as u\ntry: u.urlopen('http://192.0.2.1/', timeout=1)\nexcept OSError: pass"
    run(code, watched, tmp_path)
    assert "192.0.2.1" in seen(watched)


@pytest.mark.timeout(120)
def test_a_python_job_stays_on_this_machine(watched: dict[str, str], tmp_path: Path) -> None:
    for name in ("litellm_config.yaml", "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert run(JOB.format(config=str(tmp_path / "litellm_config.yaml")), watched, tmp_path).strip() == "done"
    assert seen(watched) == ""


@pytest.mark.timeout(120)
def test_the_proxy_stays_on_this_machine(
    watched: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("LITELLM_")]:
        monkeypatch.delenv(name)  # what LiteLLM is told has to come from the proxy itself
    for name in ("litellm_config.yaml", "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    with serving(tmp_path, "--sandbox", environment=watched) as proxy:
        for model in ("echo", "echo-anthropic"):
            body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
            assert httpx.post(f"{proxy.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    assert seen(watched) == ""

"""The README is true: its commands and its code run as they stand, in its order."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scribe_router.sandboxed import BEHAVIOURS
from tests.support.proxy import Proxy, serving

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = shlex.quote(sys.executable)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def blocks(kind: str, containing: str) -> str:
    found: list[str] = [text for name, text in BLOCKS if name == kind and containing in text]
    assert len(found) == 1
    return found[0]


def run(command: list[str] | str, url: str = "") -> str:
    text = command if isinstance(command, str) else shlex.join(command)
    text = text.replace("http://127.0.0.1:4000", url).replace(".venv/bin/scribe-router", f"{PYTHON} -m scribe_router")
    here = {**os.environ, "PYTHONPATH": str(ROOT)}  # this tree is tested, wherever else the package is installed
    done = subprocess.run(["sh", "-euc", text], cwd=ROOT, env=here, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Its sandbox brings models of LiteLLM's lane, whose import takes seconds, as the job's does.
long = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("readme")
    for name in ("litellm_config.yaml", "policies"):
        (folder / name).symlink_to(ROOT / name)
    with serving(folder, "--sandbox") as running:
        yield running


def test_the_first_command_is_in_the_makefile() -> None:
    assert blocks("sh", "make serve").strip() == "make serve"
    recipe = (ROOT / "Makefile").read_text().partition("\nserve:")[2].partition("\n\n")[0]
    assert "serve --sandbox" in recipe


@long
def test_curl(proxy: Proxy) -> None:
    assert '"content":"hello"' in run(blocks("sh", "curl"), proxy.url)


@long
def test_the_official_client(proxy: Proxy) -> None:
    code = blocks("python", "OpenAI").replace("http://127.0.0.1:4000", proxy.url)
    assert run([sys.executable, "-c", code]) == "hello from the client\nhello from the client"


@long
@pytest.mark.timeout(120)
def test_the_python_job() -> None:
    out = run([sys.executable, "-c", blocks("python", "Router.from_yaml")])
    assert re.fullmatch(r"hello from a job\n\S+ 0\.\d+ usd\n", out)


def test_the_commands() -> None:
    out = run(blocks("sh", "explain reasoning"))
    assert "ok: " in out
    assert "cost_optimized" in out
    assert run(f"{PYTHON} -m scribe_router init /dev/null/x || true") == ""


def test_init_as_the_readme_says(tmp_path: Path) -> None:
    folder = tmp_path / "my-router"
    assert "wrote" in run(f".venv/bin/scribe-router init {shlex.quote(str(folder))}")
    assert "ok: " in run(f"cd {folder} && .venv/bin/scribe-router check")


def test_what_it_links_to_is_there() -> None:
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert [target for target in linked if not (ROOT / target).exists()] == []


@long
def test_the_greeting_can_be_copied(proxy: Proxy) -> None:
    greeting = "".join(proxy.output)
    curl = re.search(r"  (curl .*?\n.*?)\n", greeting)
    assert curl is not None
    assert '"content":"hello"' in run(curl[1])
    python = re.search(r"  (from openai.*?)\n\n", greeting, re.DOTALL)
    assert python is not None
    assert "hello" in run([sys.executable, "-c", python[1].replace("\n  ", "\n")])


@long
def test_the_reference_is_current() -> None:
    run([sys.executable, "scripts/reference.py", "--check"])
    assert all(f"`{name}`" in (ROOT / "docs" / "reference.md").read_text() for name in BEHAVIOURS)

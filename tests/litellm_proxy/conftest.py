"""LiteLLM's own proxy as a process of its own, in an environment of its own, with our callbacks and the sandbox."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.stores.sqlite import SqliteLedger

PYTHON = "SCRIBE_PROXY_PYTHON"  # the interpreter that has LiteLLM's proxy; `make proxy` names it
START_SECONDS, STOP_SECONDS = 90, 30
DAILY_USD = 1
CHAT = ("echo", "no-usage", "no-end", "flaky-1", "error-500", "cut-after-2", "slow-2s", "pace-50ms+long-100")
PRICE = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "max_input_tokens": 2_000_000}
# LiteLLM's proxy keeps keys in a database; this stands in for it. Each key is its own user.
AUTHENTICATION = """
from litellm.proxy._types import UserAPIKeyAuth

async def who(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, user_id=api_key.removeprefix("sk-"))
"""


def config(url: str) -> dict[str, Any]:
    """Every model twice over: a deployment of each wire, all of them at the sandbox."""
    rows = [(model, "openai", "/v1") for model in CHAT]
    rows += [("claude", "anthropic", "/anthropic"), ("gemini", "gemini", "/gemini"), ("embed", "openai", "/v1")]
    rows += [("deepseek", "deepseek", "/v1")]
    return {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"{provider}/{name if provider == 'openai' else 'echo'}",
                    "api_base": url + base,
                    "api_key": "the-deployments-own",
                },
                "model_info": {"id": f"{name}-1", "mode": "embedding" if name == "embed" else "chat", **PRICE},
            }
            for name, provider, base in rows
        ],
        "router_settings": {"num_retries": 2},
        "general_settings": {"custom_auth": "keys.who", "master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


@dataclass(frozen=True)
class LiteLLMProxy:
    """A running proxy. `url` is `http://127.0.0.1:PORT`, `log` the file that it writes to."""

    url: str
    log: Path
    process: "subprocess.Popen[bytes]"
    folder: Path

    def client(self, user: str) -> httpx.AsyncClient:
        """An HTTP client with this user's key."""
        headers = {"Authorization": f"Bearer sk-{user}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    def ledger(self) -> SqliteLedger:
        """The ledger that the callbacks write to."""
        return SqliteLedger(self.folder / ".scribe" / "ledger.db")

    def stop(self) -> None:
        """Ask it to end; end it, and it alone, when it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def proxy(running: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    """One for all tests: it takes ten seconds to start."""
    with serving(tmp_path_factory.mktemp("proxy"), running.url) as started:
        yield started


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.clear()
    return running


@contextmanager
def serving(folder: Path, sandbox: str) -> Iterator[LiteLLMProxy]:
    """LiteLLM's proxy over what `check --resolved` prints; it is stopped when the block is left."""
    (folder / "policies").mkdir()
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(config(sandbox)))
    limit = {"id": "daily", "scope": "user", "window": "day", "usd": DAILY_USD, "when_short": "reject"}
    (folder / "policies" / "budgets.yaml").write_text(yaml.safe_dump({"limits": [limit]}))
    (folder / "policies" / "store.yaml").write_text("ledger: sqlite:.scribe/ledger.db\n")
    (folder / "keys.py").write_text(AUTHENTICATION)
    (folder / "resolved.yaml").write_text(_resolved(folder))
    started = _start(folder)
    try:
        _wait(started)
        yield started
    finally:
        started.stop()


def _resolved(folder: Path) -> str:
    command = [sys.executable, "-m", "scribe_router", "check", "--resolved", "--config", "litellm_config.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout


def _start(folder: Path) -> LiteLLMProxy:
    if PYTHON not in os.environ:
        pytest.fail(f"{PYTHON} is not set; run these with `make proxy`")
    port = _free_port()
    command = [str(Path(os.environ[PYTHON]).parent / "litellm"), "--config", "resolved.yaml", "--host", "127.0.0.1"]
    log = folder / "proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, env=_environment(folder), stdout=output, stderr=output
        )
    return LiteLLMProxy(f"http://127.0.0.1:{port}", log, process, folder)


def _environment(folder: Path) -> dict[str, str]:
    own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
    return own | {
        "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(16)}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_MODE": "PRODUCTION",
        "SCRIBE_CONFIG": str(folder / "litellm_config.yaml"),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(proxy: LiteLLMProxy) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and proxy.process.poll() is None:
        try:
            if httpx.get(f"{proxy.url}/health/liveliness", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"LiteLLM's proxy did not start:\n{proxy.log.read_text()[-4000:]}")

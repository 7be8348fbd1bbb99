"""The proxy from its start to its end: readiness, clients that hang up, a shutdown that finishes what is under way."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.sandbox import Sandbox, running_sandbox
from tests.support.proxy import Proxy, serving

CONFIG = """
model_list:
  - model_name: paced
    litellm_params: {model: openai/long-60+pace-20ms, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: slow
    litellm_params: {model: openai/slow-500ms, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: slow-error
    litellm_params: {model: openai/slow-500ms+error-500, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
router_settings:
  fallbacks: [{slow-error: [slow]}]
"""
CHAT = "/v1/chat/completions"
BLOCKER = """
import sqlite3, sys, time
sqlite3.connect(sys.argv[1], isolation_level=None).execute("begin exclusive")
print(1, flush=True)
time.sleep(20)
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@contextmanager
def started(folder: Path, fake: Sandbox) -> Iterator[Proxy]:
    (folder / "litellm_config.yaml").write_text(CONFIG.replace("BASE", fake.url + "/v1"))
    (folder / "policies").mkdir()
    (folder / "policies" / "store.yaml").write_text(
        "ledger: sqlite:ledger.sqlite3\njournal: journal.jsonl\nfail: closed"
    )
    with serving(folder) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("life")


@pytest.fixture(scope="module")
def shared(folder: Path, fake: Sandbox) -> Iterator[Proxy]:
    with started(folder, fake) as running:
        yield running


@pytest.fixture
def proxy(shared: Proxy, folder: Path, fake: Sandbox) -> Proxy:
    """The one proxy of this file, of which nothing is known yet."""
    (folder / "journal.jsonl").unlink(missing_ok=True)
    fake.clear()
    return shared


def body(model: str, *, stream: bool = False) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}


def journal(folder: Path, lines: int) -> list[Any]:
    """The journal once it has this many lines."""
    path = folder / "journal.jsonl"
    for _ in range(200):
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= lines:
            return [json.loads(line) for line in found]
        time.sleep(0.05)
    raise AssertionError(f"the journal has no {lines} lines")


def test_a_stream_that_nobody_reads_on_is_settled_with_the_truth(proxy: Proxy, folder: Path) -> None:
    with httpx.stream("POST", proxy.url + CHAT, json=body("paced", stream=True), timeout=10) as response:
        next(response.iter_lines())
    (line,) = journal(folder, 1)
    (attempt,) = line["attempts"]
    assert line["outcome"] == "answered"
    assert (attempt["usage"]["output"], attempt["mark"]) == (60, "computed")


def test_a_client_that_hangs_up_starts_no_further_attempt(proxy: Proxy, folder: Path, fake: Sandbox) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(proxy.url + CHAT, json=body("slow-error"), timeout=httpx.Timeout(20, read=0.2))
    (line,) = journal(folder, 1)
    assert [attempt["deployment"] for attempt in line["attempts"]] == ["slow-error"]
    assert len(fake.received) == 1


def test_a_plain_call_that_nobody_waits_for_is_settled(proxy: Proxy, folder: Path) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(proxy.url + CHAT, json=body("slow"), timeout=httpx.Timeout(20, read=0.2))
    (line,) = journal(folder, 1)
    assert (line["outcome"], line["attempts"][0]["mark"]) == ("answered", "computed")


def test_a_shutdown_finishes_the_streams(tmp_path: Path, fake: Sandbox) -> None:
    parts: list[str] = []

    def read(url: str) -> None:
        with httpx.stream("POST", url + CHAT, json=body("paced", stream=True), timeout=20) as response:
            parts.extend(response.iter_lines())

    with started(tmp_path, fake) as proxy:
        reader = threading.Thread(target=read, args=(proxy.url,))
        reader.start()
        until = time.monotonic() + 20
        while not parts:
            assert time.monotonic() < until, "the stream did not begin"
            time.sleep(0.02)
        assert proxy.stop() == 0
        reader.join(10)
    assert parts[-2] == "data: [DONE]"
    assert sum('"content":"' in part for part in parts) >= 60


async def test_ready_says_when_the_store_is_away(proxy: Proxy, folder: Path) -> None:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=10) as client:
        assert (await client.post(CHAT, json=body("slow"))).status_code == 200
        assert (await client.get("/health/ready")).json()["status"] == "ready"
        ledger = folder / "ledger.sqlite3"
        blocker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BLOCKER, str(ledger), stdout=asyncio.subprocess.PIPE
        )
        assert blocker.stdout is not None
        await blocker.stdout.readline()
        try:
            response = await client.post(CHAT, json=body("slow"))
        finally:
            blocker.kill()
            await blocker.wait()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert (await client.post(CHAT, json=body("slow"))).status_code == 200


@pytest.mark.slow
def test_an_idle_connection_is_kept(proxy: Proxy) -> None:
    """A load balancer keeps it too, and sends its next request over it."""
    connection = HTTPConnection(proxy.url.removeprefix("http://"))
    try:
        for pause in (7.0, 0.0):
            connection.request("GET", "/health/live")
            assert json.load(connection.getresponse()) == {"status": "live"}
            time.sleep(pause)
    finally:
        connection.close()

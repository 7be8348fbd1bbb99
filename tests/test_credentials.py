"""Keys tried at their hosts, over real sockets: once for each, bounded, and never shown."""

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from scribe_router import credentials
from scribe_router.cli import app
from scribe_router.credentials import Finding, verified
from scribe_router.registry import Registry
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.sandboxed import sandboxed
from tests.support.proxy import ROOT, serving
from tests.support.raw_server import http, replying
from tests.support.yaml_text import registry_from

session = pytest.mark.asyncio(loop_scope="session")
RIGHT, WRONG = "a-secret-that-serves", "wrong-secret-that-nobody-may-see"
BASES = {
    "openai/echo": "/v1",
    "anthropic/echo": "/anthropic",
    "gemini/echo": "/gemini",
    "openrouter/vendor/echo": "/v1",
    "ollama_chat/echo": "/ollama",
    "hosted_vllm/echo": "/v1",
    "groq/echo": "/v1",
}
ENVIRONMENT = {"RIGHT_KEY": RIGHT, "WRONG_KEY": WRONG}


def row(identity: str, model: str, base: str, key: str = "") -> str:
    line = f', api_key: "{key}"' if key else ""
    return f"""
  - model_name: {identity}
    litellm_params: {{model: {model}, api_base: "{base}"{line}}}
    model_info: {{input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}"""


def config(*rows: str) -> str:
    return f"model_list:{''.join(rows)}"


def of_every_wire(url: str) -> str:
    rows = [
        row(f"{name}-{key}", model, url + base, f"os.environ/{key}_KEY")
        for model, base in BASES.items()
        for key in ("RIGHT", "WRONG")
        for name in [model.partition("/")[0]]
    ]
    return config(*rows)


def registry(folder: Path, text: str, health: str = "{}") -> Registry:
    return registry_from(folder, text, {"store": "ledger: sqlite:l.db", "health": health}, ENVIRONMENT)


def told(found: tuple[Finding, ...]) -> dict[str, str]:
    return {name: each.verdict for each in found for name in each.deployments}


@session
async def test_every_wire_with_a_right_and_a_wrong_key(sandbox: Sandbox, tmp_path: Path) -> None:
    found = await verified(registry(tmp_path, of_every_wire(sandbox.url)))
    asked = ("openai", "anthropic", "gemini", "openrouter", "hosted_vllm")
    expected = {f"{name}-{key}": key.lower() for name in asked for key in ("RIGHT", "WRONG")}
    others = {f"{name}-{key}": "unknown" for name in ("ollama_chat", "groq") for key in ("RIGHT", "WRONG")}
    assert told(found) == expected | others
    paths = Counter(received.path for received in sandbox.received)
    assert paths == {"/v1/models": 2, "/anthropic/v1/models": 2, "/gemini/models": 2, "/v1/key": 2}
    assert {received.method for received in sandbox.received} == {"GET"}
    assert next(each for each in sandbox.received if "anthropic" in each.path).headers["anthropic-version"]
    assert not any(secret in f"{each}{each!r}" for each in found for secret in (RIGHT, WRONG))


@session
async def test_one_request_for_a_host_and_key_whatever_the_deployments(sandbox: Sandbox, tmp_path: Path) -> None:
    rows = [row(f"m-{number}", "openai/echo", f"{sandbox.url}/v1", RIGHT) for number in range(50)]
    [found] = await verified(registry(tmp_path, config(*rows)))
    assert len(sandbox.received) == 1
    host = sandbox.url.removeprefix("http://")
    assert str(found) == f"right: its key at {host}: it is taken (m-0, m-1, m-2 and 47 more)"


@session
async def test_what_is_no_refusal_is_no_verdict(tmp_path: Path) -> None:
    refusal = b'{"error": {"message": "API key not valid. Please pass a valid API key.", "code": 400}}'
    cases = [
        (http("200 OK", b"{}"), "right"),
        (http("401 No", b"{}"), "wrong"),
        (http("403 No", b"<html>"), "wrong"),
        (http("400 No", refusal), "wrong"),
        (http("400 No", b"{}"), "unknown"),
        (http("404 No", b"{}"), "unknown"),
        (http("429 No", b"{}"), "unknown"),
        (http("500 No", b"{}"), "unknown"),
        (http("302 Found", b"", "Location: /elsewhere"), "unknown"),
        (b"", "unknown"),
        (b"nonsense\r\n\r\n", "unknown"),
    ]
    for number, (reply, verdict) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with replying(reply) as host:
            [found] = await verified(registry(folder, config(row("m", "openai/echo", f"{host.url}/v1", RIGHT))))
        assert found.verdict == verdict, reply


@session
async def test_who_is_silent_is_unknown_in_time(tmp_path: Path) -> None:
    async with asyncio.timeout(20), silent() as host:
        rows = [row(f"m-{number}", "openai/echo", f"{host}/v1", f"key-{number}") for number in range(4)]
        found = await verified(registry(tmp_path, config(*rows), "{seconds: 0.3, at_once: 2}"))
    assert {each.verdict for each in found} == {"unknown"}
    assert Counter(each.reason for each in found) == {
        "it did not answer within 0.3 s": 2,
        "there was no time to ask it": 2,
    }


class silent:  # noqa: N801  (a context manager)
    """A host that takes connections and says nothing."""

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(lambda reader, writer: self.kept.append(writer), "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        for writer in self.kept:
            writer.close()
        self.server.close()

    def __init__(self) -> None:
        self.kept: list[asyncio.StreamWriter] = []


@session
async def test_no_more_at_once_than_allowed(sandbox: Sandbox, tmp_path: Path) -> None:
    """One at a time they come one after the other: each arrives when the one before it has its reply."""
    rows = [row(f"m-{number}", "openai/echo", f"{sandbox.url}/v1", f"key-{number}") for number in range(9)]
    await verified(registry(tmp_path, config(*rows), "at_once: 1"))
    records = sorted(sandbox.received, key=lambda each: each.arrived_at)
    assert len(records) == 9
    assert all((before.replied_at or 0.0) <= after.arrived_at for before, after in pairwise(records))


@session
async def test_who_needs_no_key_is_not_asked(sandbox: Sandbox, tmp_path: Path) -> None:
    text = config(row("m", "hosted_vllm/echo", f"{sandbox.url}/v1"))
    assert await verified(registry(tmp_path, text)) == ()
    assert sandbox.received == []


@session
async def test_a_key_that_is_no_header_is_unknown(sandbox: Sandbox, tmp_path: Path) -> None:
    text = config(row("m", "openai/echo", f"{sandbox.url}/v1", "two\\nlines"))
    [found] = await verified(registry(tmp_path, text))
    assert (found.verdict, "two" in str(found)) == ("unknown", False)


@session
async def test_in_the_sandbox_every_key_is_right(sandbox: Sandbox, tmp_path: Path) -> None:
    found = await verified(sandboxed(registry(tmp_path, of_every_wire("http://127.0.0.1:9")), sandbox.url))
    assert "wrong" not in told(found).values()
    assert told(found)["gemini-WRONG"] == "right"


def test_findings_travel_to_another_process() -> None:
    found = (Finding(("a", "b"), "host", "KEY", "wrong", "HTTP 401"), Finding(("c",), "other", "its key", "right", ""))
    assert credentials.loaded(credentials.dumped(found)) == found


# -- at the start, and by command


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with running_sandbox() as sandbox:
        rows = [
            row(f"m-{key}", "openai/echo", f"{sandbox.url}/v1", f"os.environ/{key}_KEY") for key in ("RIGHT", "WRONG")
        ]
        (tmp_path / "litellm_config.yaml").write_text(config(*rows))
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:l.sqlite3")
        yield tmp_path


def health(folder: Path, text: str) -> None:
    (folder / "policies" / "health.yaml").write_text(text)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_wrong_key_is_a_line_in_the_log_and_is_shown(folder: Path) -> None:
    health(folder, "verify: warn")
    with serving(folder, "--workers", "2", environment=ENVIRONMENT) as proxy:
        deployments = httpx.get(f"{proxy.url}/admin/deployments", timeout=120).json()["deployments"]
    assert {each["deployment"]: each["key"] for each in deployments} == {"m-RIGHT": "right", "m-WRONG": "wrong"}
    said = "".join(proxy.output)
    assert len(re.findall(r"wrong: WRONG_KEY at 127.0.0.1:\d+: .* \(HTTP 401\) \(m-WRONG\)", said)) == 1
    assert not any(secret in said for secret in (RIGHT, WRONG))


def test_a_wrong_key_ends_the_start(folder: Path) -> None:
    health(folder, "verify: fail")
    command = [sys.executable, "-m", "scribe_router", "serve", "--config", str(folder / "litellm_config.yaml")]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--port", "0"], env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert re.search(r"wrong: WRONG_KEY at 127.0.0.1:\d+: .* \(HTTP 401\) \(m-WRONG\)", said)
    assert "verify: fail in policies/health.yaml ends the start" in said
    assert not any(secret in said for secret in (RIGHT, WRONG))


@pytest.mark.parametrize("policy", ["{}", "verify: off"])
def test_off_asks_nobody(tmp_path: Path, policy: str) -> None:
    with running_sandbox() as sandbox:
        one = registry(tmp_path, config(row("m", "openai/echo", f"{sandbox.url}/v1", WRONG)), policy)
        assert credentials.at_start(one) == ()
        assert sandbox.received == []


def test_check_tries_them(folder: Path) -> None:
    place = ["--config", str(folder / "litellm_config.yaml")]
    plain = CliRunner(env=ENVIRONMENT).invoke(app, ["check", *place])
    assert plain.exit_code == 0
    assert "wrong" not in plain.output
    done = CliRunner(env=ENVIRONMENT).invoke(app, ["check", "--verify", *place])
    assert done.exit_code == 1
    assert re.search(r"^right: RIGHT_KEY at 127.0.0.1:\d+: it is taken \(m-RIGHT\)$", done.output, re.MULTILINE)
    assert re.search(r"^wrong: WRONG_KEY at .* \(HTTP 401\) \(m-WRONG\)$", done.output, re.MULTILINE)
    assert "1 key is refused" in done.output
    right = {**ENVIRONMENT, "WRONG_KEY": RIGHT}
    assert CliRunner(env=right).invoke(app, ["check", "--verify", *place]).exit_code == 0

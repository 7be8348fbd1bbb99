"""A prompt planted in every way to ask, and looked for in all that a run leaves behind.

Only the cache holds content, since this test switches that on for it: `run/cache` is left out of the search, and the
last test sees that the prompt is there, so that the search can find one.
"""

import gc
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from tests.support.echo_host import echoing
from tests.support.served import served
from tests.support.yaml_text import registry_from
from tests.test_canaries import logged, told

# In some runs a connection is left to the collector; it has not been found yet whose it is.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """So that it is told here, and not to a test that comes later."""
    yield
    gc.collect()


MARK = "xylophonecanary"
MASTER = "sk-test-0123456789-abcdefghij"
OPERATOR = {"authorization": f"Bearer {MASTER}"}
ROW = """
  - model_name: {0}
    litellm_params: {{model: {1}, api_base: "{2}", api_key: k}}
    model_info: {{lane: {3}, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}}"""
POLICIES = {
    "access": "master_key: os.environ/MASTER\nuser_from_request: true",
    "store": "ledger: sqlite:RUN/ledger.db\njournal: RUN/journal.jsonl\naudit: RUN/audit.jsonl",
    "breaker": "failures: 1000",
    "retries": "{rate_limit: {retries: 0}, server: {retries: 0}, network: {retries: 0}, timeout: {retries: 0}}",
    "budgets": "limits: [{id: day, scope: user, window: day, usd: 50}]",
    "limits": "limits: [{id: rate, scope: key, requests_per_minute: 100000}]",
}
REDACTION = "{upstream: [key, token, email], answers: [key, email], journal: [key, token, email], restore: true}"
FAILING = ("400", "401", "429", "500", "event", "text", "cut")
TOOL = {"type": "function", "function": {"name": "look", "description": MARK, "parameters": {"type": "object"}}}


def asks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of a request that may hold what somebody wrote."""
    said = [{"role": "user", "content": f"my {MARK} is ann@example.com"}]
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": f'{{"a": "{MARK}"}}'}}
    tools = [
        *said,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": MARK},
    ]
    parts = [{"role": "user", "content": [{"type": "text", "text": MARK}]}]
    for stream in (False, True):
        yield "/v1/chat/completions", {"messages": said, "stream": stream}
        yield "/v1/chat/completions", {"messages": tools, "tools": [TOOL], "stream": stream}
        yield "/v1/chat/completions", {"messages": parts, "stop": [MARK], "stream": stream}
        yield "/v1/completions", {"prompt": MARK, "suffix": MARK, "stream": stream}
    yield "/v1/embeddings", {"input": MARK}
    yield "/v1/chat/completions", {"messages": MARK}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": {"a": MARK}}]}
    yield "/v1/chat/completions", {"messages": said, "response_format": {"type": "json_schema", "json_schema": MARK}}


def found_in(folder: Path, *left_out: str) -> list[str]:
    """The files below a folder that hold the prompt."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(left_out or "\0"))
    return [str(path.relative_to(folder)) for path in files if MARK.encode() in path.read_bytes()]


def run(folder: Path, sandbox: str, host: str, policies: Mapping[str, str]) -> dict[str, str]:
    """Ask everything of everybody; gives what operators are shown of it, and how many answers there were."""
    rows = [
        ("echo", "hosted_vllm/echo", f"{sandbox}/v1", "wire"),
        ("away", "openai/echo", "http://127.0.0.1:1/v1", "wire"),
    ]
    rows += [("handed", "openai/echo", f"{sandbox}/v1", "litellm"), ("claude", "anthropic/echo", sandbox, "litellm")]
    rows += [
        (f"{lane}-{kind}", "openai/gpt-6-luna", f"{host}/{kind}/v1", lane)
        for kind, lane in itertools.product(FAILING, ("wire", "litellm"))
    ]
    text = "model_list:" + "".join(ROW.format(*row) for row in rows)
    (folder / "run").mkdir()
    named = {name: each.replace("RUN", str(folder / "run")) for name, each in {**POLICIES, **policies}.items()}
    router = Router(registry_from(folder, text, named, {"MASTER": MASTER}))
    shown, served_well = {}, 0
    with served(router) as url, httpx.Client(base_url=url, timeout=50, headers=OPERATOR) as client:
        for (model, *_), (path, body) in itertools.product(rows, asks()):
            served_well += client.post(path, json={"model": model, **body}).status_code == 200
        for path in ("/admin/spend?by=user", "/admin/deployments", "/admin/limits", "/v1/models", "/health/ready"):
            shown[path] = told(client.get(path))
        shown["repr"] = repr(router)
    assert served_well >= 14, "echo's and handed's answers alone are as many"
    assert (folder / "run" / "journal.jsonl").stat().st_size > 10_000
    return shown


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    with running_sandbox() as sandbox, echoing() as host:
        yield sandbox.url, host.url


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("redaction", ["", REDACTION], ids=["plain", "redacted"])
def test_a_prompt_is_nowhere(
    tmp_path: Path,
    hosts: tuple[str, str],
    redaction: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, "scribe_router")
    shown = run(tmp_path, *hosts, {"redaction": redaction} if redaction else {})
    assert found_in(tmp_path) == []
    shown["logs"], shown["output"] = logged(caplog.records), "".join(capfd.readouterr())
    assert [name for name, text in shown.items() if MARK in text] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cache_is_the_one_place_that_it_was_switched_on_for(tmp_path: Path, hosts: tuple[str, str]) -> None:
    run(tmp_path, *hosts, {"cache": f"{{enabled: true, store: disk, path: {tmp_path}/run/cache.db}}"})
    assert found_in(tmp_path, "cache.db") == []
    assert any(name.startswith("run/cache.db") for name in found_in(tmp_path))

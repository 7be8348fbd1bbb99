"""A prompt planted in every way to ask, and looked for in all that a run leaves behind.

Content stands in two places only, and both are left out of the search: `run/cache.db`, since the last test switches it
on for it and then finds the prompt there, and `tools`, the MCP sandbox's own record.
"""

import gc
import itertools
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.mcp.servers import stdio
from tests.support.echo_host import echoing
from tests.support.served import served
from tests.support.yaml_text import registry_from
from tests.test_canaries import command, logged, told


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """So that what is left to the collector is told here, and not to a test that comes later."""
    yield
    gc.collect()


MARK = "xylophonecanary"
MASTER = "sk-test-0123456789-abcdefghij"
OPERATOR = {"authorization": f"Bearer {MASTER}", "x-scribe-explain": "1"}
ROW = """
  - model_name: {0}
    litellm_params: {{model: {1}, api_base: "{2}", api_key: k}}
    model_info: {{lane: {3}, mode: {4}, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6,
      supports_vision: true}}"""
POLICIES = {
    "access": "master_key: os.environ/MASTER\nuser_from_request: true",
    "store": "ledger: sqlite:RUN/ledger.db\njournal: RUN/journal.jsonl\naudit: RUN/audit.jsonl",
    "breaker": "failures: 1000",
    "retries": "{rate_limit: {retries: 0}, server: {retries: 0}, network: {retries: 0}, timeout: {retries: 0}}",
    "budgets": "limits: [{id: day, scope: user, window: day, usd: 50}]",
    "limits": "limits: [{id: rate, scope: key, requests_per_minute: 100000}]",
    "features": "fetch_urls: true",
}
REDACTION = "{upstream: [key, token, email], answers: [key, email], journal: [key, token, email], restore: true}"
FAILING = ("400", "401", "429", "500", "event", "text", "cut")
# Models of each family, and one that calls a tool of each lane: the row, and the path of the sandbox.
SERVING = {
    "echo": ("hosted_vllm/echo", "/v1", "wire", "chat"),
    "handed": ("openai/echo", "/v1", "litellm", "chat"),
    "claude": ("anthropic/echo", "/anthropic", "litellm", "chat"),
    "gemini": ("gemini/echo", "/gemini", "litellm", "chat"),
    "ollama": ("ollama_chat/echo", "/ollama", "litellm", "chat"),
    "calls": ("hosted_vllm/tool", "/v1", "wire", "chat"),
    "claude-calls": ("anthropic/tool", "/anthropic", "litellm", "chat"),
    "vectors": ("hosted_vllm/embed", "/v1", "wire", "embedding"),
    "vectors-handed": ("openai/embed", "/v1", "litellm", "embedding"),
}
CHATS = ("echo", "handed", "claude", "gemini", "ollama")
# What has to answer, by name: without an answer there is nothing that could be kept of it.
ANSWERED = {
    *itertools.product(CHATS, ("chat", "tools", "parts", "chat streamed", "tools streamed", "parts streamed")),
    *itertools.product(("calls", "claude-calls"), ("mcp", "mcp that fails", "mcp streamed", "mcp that fails streamed")),
    ("echo", "completion"),
    ("echo", "completion streamed"),
    ("vectors", "embedding"),
    ("vectors-handed", "embedding"),
}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "look", "description": MARK, "parameters": {"type": "object"}}}
SEEN = (
    *(f"/admin/spend?by={by}&format={form}" for by in ("user", "model", "limit", "tool") for form in ("json", "csv")),
    *("/admin/deployments", "/admin/limits", "/admin/keys", "/v1/models", "/health/ready", "/health/live"),
)  # fmt: skip
COMMANDS = (
    ["spend"], ["ledger", "check"], ["ledger", "export"], ["ledger", "doubtful"], ["ledger", "releases"],
    ["check", "--resolved"], ["models"], ["explain", "echo"],
)  # fmt: skip


def asks() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every place of a request that may hold what somebody wrote: its name, the path and the body."""
    chat = "/v1/chat/completions"
    said = [{"role": "user", "content": f"my {MARK} is ann@example.com"}]
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": f'{{"a": "{MARK}"}}'}}
    tools = [
        *said,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": MARK},
    ]
    parts = [{"role": "user", "content": [{"type": "text", "text": MARK}]}]
    picture = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:9/{MARK}.png"}}
    for word, stream in (("", False), (" streamed", True)):
        yield f"chat{word}", chat, {"messages": said, "stream": stream}
        yield f"tools{word}", chat, {"messages": tools, "tools": [TOOL], "stream": stream}
        yield f"parts{word}", chat, {"messages": parts, "stop": [MARK + "!"], "stream": stream}
        yield f"link{word}", chat, {"messages": [{"role": "user", "content": [*parts[0]["content"], picture]}],
                                    "stream": stream}  # fmt: skip
        yield f"mcp{word}", chat, {"messages": said, "mcp_tools": ["box__echo"], "stream": stream}
        yield f"mcp that fails{word}", chat, {"messages": said, "mcp_tools": ["box__fail"], "stream": stream}
        yield f"completion{word}", "/v1/completions", {"prompt": MARK, "suffix": MARK, "stream": stream}
    yield "embedding", "/v1/embeddings", {"input": MARK}
    yield "no messages", chat, {"messages": MARK}
    yield "no content", chat, {"messages": [{"role": "user", "content": {"a": MARK}}]}
    yield "no schema", chat, {"messages": said, "response_format": {"type": "json_schema", "json_schema": MARK}}


def found_in(folder: Path, *left_out: str) -> list[str]:
    """The files below a folder that hold the prompt."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(left_out or "\0"))
    return [str(path.relative_to(folder)) for path in files if MARK.encode() in path.read_bytes()]


def rows(sandbox: str, host: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Every model: those that answer, one that nobody reaches, and hosts that repeat what they were sent."""
    for name, (model, path, lane, mode) in SERVING.items():
        yield name, model, f"{sandbox}{path}", lane, mode
    yield "away", "openai/echo", "http://127.0.0.1:1/v1", "wire", "chat"
    for kind, lane in itertools.product(FAILING, ("wire", "litellm")):
        yield f"{lane}-{kind}", "openai/gpt-6-luna", f"{host}/{kind}/v1", lane, "chat"


def whole(answer: httpx.Response) -> bool:
    """Whether it is an answer, to its end."""
    streamed = "event-stream" in answer.headers["content-type"]
    return answer.status_code == 200 and (not streamed or answer.text.endswith("data: [DONE]\n\n"))


def run(folder: Path, sandbox: Sandbox, host: str, policies: Mapping[str, str]) -> dict[str, str]:
    """Ask everything of everybody; gives what operators are shown of it."""
    sandbox.clear()
    (folder / "run").mkdir()
    named = {name: each.replace("RUN", str(folder / "run")) for name, each in {**POLICIES, **policies}.items()}
    named["mcp"] = json.dumps({"servers": {"box": stdio(folder / "tools", price="free")}})
    models = tuple(rows(sandbox.url, host))
    text = "model_list:" + "".join(ROW.format(*row) for row in models)
    router = Router(registry_from(folder, text, named, {"MASTER": MASTER}))
    shown, answered = {}, set()
    with served(router) as url, httpx.Client(base_url=url, timeout=50, headers=OPERATOR) as client:
        for (model, *_), (name, path, body) in itertools.product(models, asks()):
            answer = client.post(path, json={"model": model, **body})
            shown[f"headers {model} {name}"] = str(answer.headers)
            if whole(answer):
                answered.add((model, name))
        for path in SEEN:
            shown[path] = told(client.get(path))
        for line in (folder / "run" / "journal.jsonl").read_text().splitlines():
            for form in ("json", "text"):
                path = f"/admin/exchanges/{json.loads(line)['id']}?format={form}"
                shown[path] = told(client.get(path))
                assert shown[path].startswith("200 "), shown[path]
        shown["repr"] = repr(router)
    shown |= {" ".join(each): command(folder, {"MASTER": MASTER}, *each) for each in COMMANDS}
    assert ANSWERED - answered == set()
    return shown


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Sandbox, str]]:
    with running_sandbox() as sandbox, echoing() as host:
        yield sandbox, host.url


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("redaction", ["", REDACTION], ids=["plain", "redacted"])
def test_a_prompt_is_nowhere(
    tmp_path: Path,
    hosts: tuple[Sandbox, str],
    redaction: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = run(tmp_path, *hosts, {"redaction": redaction} if redaction else {})
    tool = [each for each in (tmp_path / "tools").read_text().splitlines() if MARK in each]
    assert {json.loads(each)["tool"] for each in tool} == {"echo", "fail"}, "no tool was told the prompt"
    repeated = [each for each in hosts[0].received if each.body.count(MARK.encode()) > 2 and b"box__echo" in each.body]
    assert {each.model for each in repeated} == {"tool"}, "no model was told what the tool said"
    assert found_in(tmp_path, "tools") == []
    shown["logs"], shown["output"] = logged(caplog.records), "".join(capfd.readouterr())
    assert [f"{name}: {text[text.index(MARK) - 300 :][:400]}" for name, text in shown.items() if MARK in text] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cache_is_the_one_place_that_it_was_switched_on_for(tmp_path: Path, hosts: tuple[Sandbox, str]) -> None:
    run(tmp_path, *hosts, {"cache": f"{{enabled: true, store: disk, path: {tmp_path}/run/cache.db}}"})
    assert found_in(tmp_path, "cache.db", "tools") == []
    assert any(name.startswith("run/cache.db") for name in found_in(tmp_path))

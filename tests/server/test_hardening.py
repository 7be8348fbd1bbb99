"""What strangers send to harm: slow, endless, too many, with control characters, or pointing at somebody else."""

import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.policies.parameters import MOST_MESSAGES
from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from scribe_router.server import body, clocks
from scribe_router.server.guard import MOST_HEADERS
from tests.support.raw_client import ended
from tests.support.served import served
from tests.support.yaml_text import registry_from

MASTER = "sk-test-0123456789-abcdefghij"
OPERATOR = {"authorization": f"Bearer {MASTER}"}
CHAT = "/v1/chat/completions"
ROW = """
  - model_name: {0}
    litellm_params: {{model: {1}, api_base: {2}, api_key: k}}
    model_info: {{lane: {3}, input_cost_per_token: 0, output_cost_per_token: 0, supports_vision: true}}"""
NASTY = "a\r\nset-cookie: b\x1b[31mred\x00\u2028\u202e"


@dataclass(frozen=True)
class Stage:
    """A proxy, a client of its operator, and the folder that it writes to."""

    client: httpx.Client
    folder: Path

    def ask(self, content: Any = "hello", model: str = "echo", **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        return self.client.post(CHAT, json={"model": model, "messages": messages, **more})

    def connected(self) -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self.client.base_url.port or 0), timeout=30)
        found.settimeout(30)
        return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("hardening")
    with running_sandbox() as sandbox:
        rows = (
            ("echo", "hosted_vllm/echo", f"{sandbox.url}/v1", "wire"),
            ("handed", "openai/echo", f"{sandbox.url}/v1", "litellm"),
            ("gemini", "gemini/echo", f"{sandbox.url}/gemini", "litellm"),
            ("ollama", "ollama_chat/echo", f"{sandbox.url}/ollama", "litellm"),
            ("claude", "anthropic/echo", f"{sandbox.url}/anthropic", "litellm"),
        )
        text = "model_list:" + "".join(ROW.format(*row) for row in rows)
        store = f"ledger: sqlite:{folder}/ledger.db\naudit: {folder}/audit.jsonl\njournal: {folder}/journal.jsonl"
        policies = {"access": "master_key: os.environ/MASTER", "store": store}
        router = Router(registry_from(folder, text, policies, {"MASTER": MASTER}))
        with served(router) as url, httpx.Client(base_url=url, timeout=60, headers=OPERATOR) as client:
            yield Stage(client, folder)


HEAD = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER}\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize("begun", ["", "POST ", HEAD], ids=["nothing", "a word", "all but its end"])
def test_a_head_that_does_not_come(stage: Stage, begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "HEAD_SECONDS", 0.2)
    with stage.connected() as connection:
        connection.sendall(begun.encode())
        assert ended(connection) == b""


def test_a_second_head_that_does_not_come(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "HEAD_SECONDS", 0.2)
    with stage.connected() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP/1.1 200" in connection.recv(65536)
        connection.sendall(b"GET /")
        assert b"HTTP/1.1" not in ended(connection)


def test_a_body_that_does_not_come(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.2)
    with stage.connected() as connection:
        connection.sendall(f"{HEAD}content-length: 100\r\n\r\n{{".encode())
        answer = ended(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in answer


def test_a_body_that_goes_on_after_its_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "HEAD_SECONDS", 0.2)
    with stage.connected() as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
        assert ended(connection).startswith(b"HTTP/1.1 401 ")


def test_too_many_headers_and_too_large_ones(stage: Stage) -> None:
    many = stage.client.get("/v1/models", headers={f"x-{number}": "a" for number in range(MOST_HEADERS)})
    assert (many.status_code, many.json()["error"]["code"]) == (431, "too_many_headers")
    with stage.connected() as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nx: " + b"a" * 100_000)
        assert b"HTTP/1.1 200" not in ended(connection)


def test_too_many_messages(stage: Stage) -> None:
    message = {"role": "user", "content": "a"}
    answer = stage.client.post(CHAT, json={"model": "echo", "messages": [message] * (MOST_MESSAGES + 1)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")


PICTURE = {"type": "image_url", "image_url": {"url": "https://192.0.2.1/a.png"}}
DATA = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.mark.parametrize(
    ("model", "part", "fetched"),
    [
        *((model, PICTURE, True) for model in ("gemini", "ollama")),
        *((model, PICTURE, False) for model in ("echo", "handed", "claude")),
        *((model, DATA, False) for model in ("echo", "handed", "claude", "gemini", "ollama")),
        ("claude", {"type": "image_url", "image_url": {"url": "http://192.0.2.1/a.png"}}, True),
        ("gemini", {"type": "image_url", "image_url": "a https://192.0.2.1/a.png"}, True),
        ("gemini", {"type": "file", "file": {"file_id": "https://192.0.2.1/a.pdf"}}, True),
        ("handed", {"type": "file", "file": {"file_id": "https://192.0.2.1/a.pdf"}}, True),
        ("gemini", {"type": "text", "text": "see https://192.0.2.1/a.png"}, False),
    ],
)
def test_nothing_is_fetched_for_a_client(stage: Stage, model: str, part: Any, fetched: bool) -> None:
    answer = stage.ask([{"type": "text", "text": "look"}, part], model)
    assert (answer.status_code == 400 and answer.json()["error"]["code"] == "fetch_not_allowed") is fetched, answer.text


def test_private_addresses_are_never_fetched() -> None:
    """That part is LiteLLM's, unless somebody turns it off."""
    from litellm.litellm_core_utils.url_utils import SSRFError, validate_url

    for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "localhost"):
        with pytest.raises(SSRFError):
            validate_url(f"http://{host}/a.png")


def tame(text: str) -> bool:
    return not any(letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u202e" for letter in text)


def nasty(stage: Stage) -> Iterator[httpx.Response]:
    """Names with control characters, in every place that takes one."""
    yield stage.ask(model=NASTY)
    yield stage.ask(user=NASTY)
    yield stage.ask(metadata={"task": NASTY, "tags": [NASTY], "experiment_unit": NASTY})
    for name in ("optimize_for", "reasoning_effort", "provider", NASTY):
        yield stage.ask(**{name: NASTY})
    yield stage.client.get("/v1/models/a%0d%0aset-cookie:%20b%1b%5b31m")
    yield stage.client.get("/admin/keys/a%0d%0a%1b%5b31m")
    yield stage.client.get("/admin/spend?by=a%0d%0a%1b")
    yield stage.client.post("/admin/keys", json={"name": NASTY, "models": [NASTY], "user": NASTY})
    yield httpx.get(f"{stage.client.base_url}/v1/a%0d%0a%1b%5b31m", headers={"authorization": "Bearer x"})
    yield httpx.get(f"{stage.client.base_url}/admin/a%0d%0a%1b%5b31m")


def test_control_characters_reach_no_header_no_log_and_no_second_line(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in nasty(stage):
        assert "set-cookie" not in answer.headers
        assert all(tame(value) for value in answer.headers.values())
        assert json.loads(answer.text)
    ours = [record for record in caplog.records if record.name.startswith(("scribe_router", "uvicorn"))]
    assert [record.getMessage() for record in ours if not tame(record.getMessage())] == []
    for name, field in (("audit.jsonl", "time"), ("journal.jsonl", "id")):
        lines = (stage.folder / name).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        assert [line for line in lines if not tame(line)] == []
        assert all(field in json.loads(line) for line in lines)

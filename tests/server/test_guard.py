"""Who gets in and what is refused, over a real socket: one table of requests, and the error shape of each refusal."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.principals import LOCAL
from scribe_router.server.guard import Guard
from tests.support.proxy import Proxy, serving

KEY = "sk-test-0123456789-abcdefghij"
ONE = """
model_list:
  - model_name: echo
    litellm_params: {model: openai/echo, api_base: "http://127.0.0.1:9/v1", api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""
CHAT = "/v1/chat/completions"
HELLO = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    code: str
    path: str = CHAT
    method: str = "POST"
    body: Any = field(default_factory=lambda: json.dumps(HELLO))
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


OPEN_CASES = [
    Case("a foreign Host", 403, "loopback_only", headers={**JSON, "host": "evil.example"}),
    Case("a foreign Host with a port", 403, "loopback_only", headers={**JSON, "host": "evil.example:4000"}),
    Case("a Host that only starts like ours", 403, "loopback_only", headers={**JSON, "host": "127.0.0.1.evil.example"}),
    Case("somebody behind a proxy", 403, "loopback_only", headers={**JSON, "x-forwarded-for": "127.0.0.1"}),
    Case("somebody behind another proxy", 403, "loopback_only", headers={**JSON, "forwarded": "for=127.0.0.1"}),
    Case("a form", 415, "content_type", headers={"content-type": "text/plain"}),
    Case("no content type", 415, "content_type", headers={}),
    Case("no JSON", 400, "invalid_json", body="{"),
    Case("a JSON list", 400, "invalid_json", body="[]"),
    Case("deep nesting", 400, "invalid_json", body="[" * 200_000),
    Case("not UTF-8", 400, "invalid_json", body=b'{"model": "\xff"}'),
    Case("no messages", 400, "missing_field", body='{"model": "echo"}'),
    Case("messages of the wrong kind", 400, "invalid_type", body='{"model": "echo", "messages": "hello"}'),
    Case("an operator's field", 400, "unknown_parameter", body=json.dumps({**HELLO, "api_base": "http://x"})),
    Case("a cap of zero", 400, "invalid_value", body=json.dumps({**HELLO, "max_tokens": 0})),
    Case("a misspelt model", 404, "model_not_found", body=json.dumps({**HELLO, "model": "ecko"})),
    Case("a line break in a name", 404, "model_not_found", body=json.dumps({**HELLO, "model": "a\r\nset-cookie: b"})),
    Case("no such path", 404, "http_404", path="/v1/nothing"),
    Case("no such method", 405, "http_405", method="GET"),
    Case("an embedding model that is none", 404, "model_not_found", path="/v1/embeddings",
         body='{"model": "echo", "input": "a"}'),
    Case("a model that is not there", 404, "model_not_found", path="/v1/models/ecko", method="GET"),
]  # fmt: skip


@pytest.fixture(scope="module")
def open_proxy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("open")
    (folder / "litellm_config.yaml").write_text(ONE)
    with serving(folder) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def closed_proxy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "litellm_config.yaml").write_text(ONE)
    (folder / "policies").mkdir()
    (folder / "policies" / "access.yaml").write_text("master_key: os.environ/SCRIBE_MASTER_KEY")
    with serving(folder, environment={"SCRIBE_MASTER_KEY": KEY}) as proxy:
        yield proxy


def ask(proxy: Proxy, case: Case) -> httpx.Response:
    return httpx.request(case.method, proxy.url + case.path, content=case.body, headers=case.headers, timeout=30)


@pytest.mark.parametrize("case", OPEN_CASES, ids=lambda case: case.name)
def test_refusals(open_proxy: Proxy, case: Case) -> None:
    response = ask(open_proxy, case)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (case.status, case.code)
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert response.headers["x-should-retry"] == "false"
    assert "set-cookie" not in response.headers


def test_a_body_that_is_too_large(open_proxy: Proxy) -> None:
    def endless() -> Any:
        yield b'{"model": "'
        for _ in range(66):
            yield b"x" * 2**20

    response = httpx.post(open_proxy.url + CHAT, content=endless(), headers=JSON, timeout=60)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_health_is_open_to_all(closed_proxy: Proxy) -> None:
    assert httpx.get(closed_proxy.url + "/health/live").json() == {"status": "live"}
    assert httpx.get(closed_proxy.url + "/health/ready").status_code in (200, 503)


@pytest.mark.parametrize("path", ["/v1/models", CHAT, "/openapi.json", "/v1/nothing", "/"])
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {KEY}"}, {"authorization": KEY}]
)
def test_everything_else_asks_for_the_key(closed_proxy: Proxy, path: str, headers: dict[str, str]) -> None:
    response = httpx.get(closed_proxy.url + path, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert KEY not in response.text


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}])
def test_the_key_opens(closed_proxy: Proxy, headers: dict[str, str]) -> None:
    response = httpx.get(closed_proxy.url + "/v1/models", headers=headers)
    assert [each["id"] for each in response.json()["data"]] == ["echo"]


def test_no_address_that_others_reach_without_a_key(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text(ONE)
    with pytest.raises(AssertionError, match=r"without policies/access.yaml"), serving(tmp_path, "--host", "0.0.0.0"):
        pass


async def test_a_caller_from_elsewhere_is_refused() -> None:
    """Loopback is judged by the connection, not by what the request says."""
    sent: list[Any] = []

    async def never(*_: Any) -> None:
        raise AssertionError("it was let in")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    scope = {
        "type": "http", "method": "GET", "path": "/v1/models", "headers": [(b"host", b"localhost")],
        "client": ("192.0.2.7", 1), "query_string": b"",
    }  # fmt: skip
    await Guard(never, None)(scope, receive, send)
    assert sent[0]["status"] == 403
    assert LOCAL.name == "local"

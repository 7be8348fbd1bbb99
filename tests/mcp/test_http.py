"""MCP tools over HTTP: virtual keys and their groups, the official client plain and streamed, and the figures that an
answer tells."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.mcp.servers import executed, over_http
from tests.support.served import served
from tests.support.yaml_text import registry_from

MASTER = "sk-test-0123456789-abcdefghij"
CONFIG = """
model_list:
  - model_name: tool
    litellm_params: {model: openai/tool, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
"""
MCP = {
    "prices": {"web_search": "0.001"},
    "price": "free",
    "timeout_seconds": 60,
}
MESSAGES: Any = [{"role": "user", "content": "look it up"}]


@dataclass
class Place:
    """The proxy, the models behind it, what the MCP server executed, and keys by who has them."""

    url: str
    models: Sandbox
    record: Path
    keys: dict[str, str]

    def client(self, who: str) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.keys[who], max_retries=0, timeout=60)

    def ask(self, who: str, **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[who]}"}
        whole = {"model": "tool", "messages": MESSAGES, **body}
        return httpx.post(f"{self.url}/v1/chat/completions", json=whole, headers=headers, timeout=60)

    def forget(self) -> None:
        self.models.clear()
        self.record.unlink(missing_ok=True)

    @property
    def offered(self) -> list[list[str]]:
        """The tools that models were offered, request by request."""
        bodies = [json.loads(each.body) for each in self.models.received]
        return [[tool["function"]["name"] for tool in body.get("tools", ())] for body in bodies]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("http")
    record = folder / "record"
    with running_sandbox() as models, over_http(record) as mcp:
        policies = {
            "access": "master_key: os.environ/MASTER",
            "store": "ledger: sqlite:ledger.db",
            "mcp": json.dumps(
                {
                    "servers": {"box": {"url": mcp, **MCP}, "away": {"url": "http://127.0.0.1:9/mcp", "price": "free"}},
                    "groups": {"research": {"tools": ["box__web_search"], "teams": ["analysts"]}},
                }
            ),
        }
        router = Router(registry_from(folder, CONFIG.replace("BASE", models.url), policies, {"MASTER": MASTER}))
        with served(router) as url:
            yield Place(url, models, record, {"master": MASTER, **keys(url)})


def keys(url: str) -> dict[str, str]:
    ordinary: dict[str, Any] = {"models": ["*"], "fields": ["mcp_tools"]}
    asked = {
        "by-team": {**ordinary, "team": "analysts"},
        "by-group": {**ordinary, "mcp_groups": ["research"]},
        "by-tool": {**ordinary, "tools": ["box__web_search"]},
        "stranger": {**ordinary, "team": "others"},
        "no-field": {"models": ["*"], "fields": [], "team": "analysts"},
    }
    found = {}
    for name, body in asked.items():
        headers = {"authorization": f"Bearer {MASTER}"}
        answer = httpx.post(f"{url}/admin/keys", json={"name": name, **body}, headers=headers, timeout=20)
        found[name] = str(answer.raise_for_status().json()["key"])
    return found


@pytest.fixture
def place(whole: Place) -> Place:
    whole.forget()
    return whole


@pytest.mark.parametrize("who", ["by-team", "by-group", "by-tool", "master"])
def test_who_may_gets_the_tool(place: Place, who: str) -> None:
    answer = place.ask(who, mcp_tools=["box__web_search"])
    assert answer.status_code == 200, answer.text
    assert place.offered == [["box__web_search"]] * 2
    assert executed(place.record) == ["web_search"]


@pytest.mark.parametrize("who", ["by-team", "by-group", "by-tool"])
def test_all_of_them_are_those_that_a_key_may_use(place: Place, who: str) -> None:
    assert place.ask(who, mcp_tools=["*"]).status_code == 200
    assert set(map(tuple, place.offered)) == {("box__web_search",)}


@pytest.mark.parametrize("name", ["box__web_search", "box", "research", "box__*", "b?x__web_search", "away", "no-such"])
def test_a_key_without_the_group_cannot_guess_a_name(place: Place, name: str) -> None:
    """What is there and what is not are refused in the same words, also where the server is away."""
    for body in ({"mcp_tools": [name]}, {"tools": [{"type": "mcp", "server_label": name}]}):
        answer = place.ask("stranger", **body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == (
            "unknown_tool",
            f"there is no MCP tool, server or group {name} that this request may use",
        )
    assert (place.offered, executed(place.record)) == ([], [])


def test_a_key_without_the_group_sees_no_tool_and_calls_none(place: Place) -> None:
    answer = place.ask("stranger", mcp_tools=["*"])
    assert (answer.status_code, place.offered) == (200, [[]])
    # The model is offered the client's own function of that name, and calls it: it is the client's to run.
    own = {"type": "function", "function": {"name": "box__web_search", "parameters": {"type": "object"}}}
    called = place.ask("stranger", mcp_tools=["*"], tools=[own]).json()["choices"][0]
    assert called["message"]["tool_calls"][0]["function"]["name"] == "box__web_search"
    assert executed(place.record) == []


def test_a_field_that_a_key_may_not_set(place: Place) -> None:
    answer = place.ask("no-field", mcp_tools=["*"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "field_not_allowed")
    labelled = place.ask("no-field", tools=[{"type": "mcp", "server_label": "box"}])
    assert (labelled.status_code, labelled.json()["error"]["code"]) == (403, "field_not_allowed")
    assert executed(place.record) == []


def test_the_official_client_plain(place: Place) -> None:
    raw = place.client("by-team").chat.completions.with_raw_response.create(
        model="tool",
        messages=MESSAGES,
        extra_body={"mcp_tools": ["research"]},
    )
    answer = raw.parse()
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
        "the first result for look it up",
        "stop",
    )
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage is not None
    tokens = answer.usage.prompt_tokens * 1_000 + answer.usage.completion_tokens * 2_000
    assert (raw.headers["x-scribe-tool-calls"], raw.headers["x-scribe-tool-cost-usd"]) == ("1", "0.001")
    assert nano(raw.headers["x-scribe-cost-usd"]) == tokens + 1_000_000
    assert ledger(place, raw.headers["x-scribe-request-id"]) == tokens + 1_000_000


def test_the_official_client_streamed(place: Place) -> None:
    with place.client("by-team").chat.completions.stream(
        model="tool",
        messages=MESSAGES,
        stream_options={"include_usage": True},
        extra_body={"mcp_tools": ["research"]},
    ) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" not in kinds
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
        "the first result for look it up",
        "stop",
    )
    assert answer.usage is not None
    place.forget()
    body = {"mcp_tools": ["research"], "stream": True, "stream_options": {"include_usage": True}}
    lines = place.ask("by-team", **body).text.split("\n\n")
    assert lines[-3:][1:] == ["data: [DONE]", ""]
    last = json.loads(lines[-3].removeprefix(": scribe "))
    tokens = answer.usage.prompt_tokens * 1_000 + answer.usage.completion_tokens * 2_000
    assert (last["tool_calls"], last["tool_cost_usd"]) == (1, "0.001")
    assert nano(last["cost_usd"]) == ledger(place, last["request_id"]) == tokens + 1_000_000


def nano(text: str) -> int:
    return round(float(text) * 1e9)


def ledger(place: Place, exchange: str) -> int:
    """What the rows of an exchange cost, once all of them are settled."""
    asked = "SELECT sum(cost), sum(state != 'settled') FROM attempts WHERE exchange = ?"
    with closing(sqlite3.connect(place.record.with_name("ledger.db"))) as books:
        while (found := books.execute(asked, (exchange,)).fetchone())[1]:
            time.sleep(0.01)
    return int(found[0])

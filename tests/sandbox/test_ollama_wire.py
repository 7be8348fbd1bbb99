"""Ollama's wire, byte for byte; LiteLLM goes over it elsewhere."""

import json
from typing import Any

import httpx
import pytest

from tests.sandbox.asks import ARGUMENTS, DOCUMENT, MESSAGES, SCHEMA, TEXT, TOOLS, ask, events, words


async def answer(http: httpx.AsyncClient, model: str, **more: Any) -> Any:
    request = ask("ollama", model, **more)
    return (await http.post(request.path, json=request.body)).json()


async def stream(http: httpx.AsyncClient, model: str, **more: Any) -> list[Any]:
    request = ask("ollama", model, stream=True, **more)
    reply = await http.post(request.path, json=request.body)
    assert reply.headers["content-type"] == "application/x-ndjson"
    return events("ollama", reply.text)


async def test_plain(http: httpx.AsyncClient) -> None:
    reply = await answer(http, "echo:latest")
    assert reply["message"] == {"role": "assistant", "content": TEXT}
    assert (reply["done"], reply["done_reason"], reply["model"]) == (True, "stop", "echo:latest")
    assert (reply["prompt_eval_count"], reply["eval_count"]) == (3, 3)
    assert reply["created_at"].endswith("Z")


async def test_stream(http: httpx.AsyncClient) -> None:
    got = await stream(http, "echo")
    assert [words("ollama", event) for event in got] == ["hello ", "big ", "world", ""]
    assert [event["done"] for event in got] == [False, False, False, True]
    assert got[-1]["eval_count"] == 3


async def test_it_streams_unless_told_not_to(http: httpx.AsyncClient) -> None:
    reply = await http.post("/ollama/api/chat", json={"model": "echo", "messages": MESSAGES})
    assert len(reply.text.splitlines()) == 4


async def test_thinking(http: httpx.AsyncClient) -> None:
    reply = await answer(http, "think-2")
    assert (reply["message"]["thinking"], reply["message"]["content"]) == ("step-1 step-2 ", TEXT)
    got = await stream(http, "think-2")
    assert [event["message"].get("thinking") for event in got[:3]] == ["step-1 ", "step-2 ", None]


async def test_tools(http: httpx.AsyncClient) -> None:
    calls = (await answer(http, "tools-2", tools=TOOLS))["message"]["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("weather", ARGUMENTS),
        ("news", ARGUMENTS),
    ]
    streamed = (await stream(http, "tools-2", tools=TOOLS))[0]["message"]["tool_calls"]
    assert [call["function"] for call in streamed] == [call["function"] for call in calls]


async def test_result_of_a_tool(http: httpx.AsyncClient) -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": ""}, {"role": "tool", "content": "sunny 21"}]
    assert (await answer(http, "tool", tools=TOOLS, messages=messages))["message"]["content"] == "sunny 21"


@pytest.mark.parametrize(("wanted", "document"), [(SCHEMA, DOCUMENT), ("json", {"text": TEXT})])
async def test_json(http: httpx.AsyncClient, wanted: Any, document: Any) -> None:
    assert json.loads((await answer(http, "echo", format=wanted))["message"]["content"]) == document


@pytest.mark.parametrize(("cap", "tokens", "reason"), [(7, 7, "length"), (-1, 64, "stop"), (100, 64, "stop")])
async def test_cap(http: httpx.AsyncClient, cap: int, tokens: int, reason: str) -> None:
    reply = await answer(http, "long-64", options={"num_predict": cap})
    assert (reply["eval_count"], reply["done_reason"]) == (tokens, reason)


async def test_embed(http: httpx.AsyncClient) -> None:
    reply = (await http.post("/ollama/api/embed", json={"model": "e", "input": ["a b", "c"], "dimensions": 8})).json()
    assert ([len(one) for one in reply["embeddings"]], reply["prompt_eval_count"]) == ([8, 8], 3)
    bare = (await http.post("/ollama/api/embed", json={"model": "no-usage", "input": "a"})).json()
    assert "prompt_eval_count" not in bare


@pytest.mark.parametrize("body", [{"model": "hang"}, {"name": "hang"}])
async def test_show_answers_for_every_model(http: httpx.AsyncClient, body: Any) -> None:
    reply = (await http.post("/ollama/api/show", json=body)).json()
    assert "tools" in reply["capabilities"]
    assert ".Tools" in reply["template"]


async def test_tags_need_no_key(sandbox: Any) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        assert (await client.get("/ollama/api/tags")).json()["models"][0]["name"] == "echo:latest"


@pytest.mark.parametrize("changes", [{"messages": None}, {"model": None}, {"tools": [{}]}, {"options": 7}])
async def test_bad_request(http: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    reply = await http.post("/ollama/api/chat", json={**ask("ollama", "echo").body, **changes})
    assert (reply.status_code, type(reply.json()["error"])) == (400, str)

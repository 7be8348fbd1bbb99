"""Gemini's wire, byte for byte; LiteLLM goes over it elsewhere."""

import json
from typing import Any

import httpx
import pytest

from tests.sandbox.asks import ARGUMENTS, DOCUMENT, PARAMETERS, SCHEMA, TEXT, ask, events

DECLARED = [{"name": name, "description": "d", "parameters": PARAMETERS} for name in ("weather", "news")]
TOOLS: list[Any] = [{"functionDeclarations": DECLARED}]
USER: dict[str, Any] = {"role": "user", "parts": [{"text": TEXT}]}
CALLED: dict[str, Any] = {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]}


async def answer(http: httpx.AsyncClient, model: str, **more: Any) -> Any:
    request = ask("gemini", model, **more)
    return (await http.post(request.path, json=request.body)).json()


def parts(reply: Any) -> Any:
    return reply["candidates"][0]["content"]["parts"]


@pytest.mark.parametrize("rest", ["", "v1beta/", "v1/projects/p/locations/l/publishers/google/"])
@pytest.mark.parametrize("model", ["echo", "vendor/echo", "echo:free"])
async def test_paths(http: httpx.AsyncClient, rest: str, model: str) -> None:
    reply = await http.post(f"/gemini/{rest}models/{model}:generateContent", json={"contents": [USER]})
    assert (parts(reply.json()), reply.json()["modelVersion"]) == ([{"text": TEXT}], model)


async def test_plain(http: httpx.AsyncClient) -> None:
    system = {"parts": [{"text": "be brief"}]}
    reply = await answer(http, "echo", systemInstruction=system)
    assert reply["candidates"][0]["finishReason"] == "STOP"
    assert reply["usageMetadata"]["promptTokenCount"] == 5
    assert reply["usageMetadata"]["candidatesTokenCount"] == 3


async def test_stream(http: httpx.AsyncClient) -> None:
    request = ask("gemini", "echo", stream=True)
    got = events("gemini", (await http.post(request.path, json=request.body)).text)
    assert [parts(event)[0]["text"] for event in got] == ["hello ", "big ", "world", ""]
    assert [event["candidates"][0].get("finishReason") for event in got] == [None, None, None, "STOP"]
    assert ["usageMetadata" in event for event in got] == [False, False, False, True]


async def test_thinking(http: httpx.AsyncClient) -> None:
    reply = await answer(http, "think-3")
    assert parts(reply) == [{"text": "step-1 step-2 step-3 ", "thought": True}, {"text": TEXT}]
    usage = reply["usageMetadata"]
    assert (usage["thoughtsTokenCount"], usage["candidatesTokenCount"], usage["totalTokenCount"]) == (3, 3, 9)


async def test_tools(http: httpx.AsyncClient) -> None:
    calls = [part["functionCall"] for part in parts(await answer(http, "tools-2", tools=TOOLS))]
    assert calls == [{"name": name, "args": ARGUMENTS} for name in ("weather", "news")]
    request = ask("gemini", "tool", stream=True, tools=TOOLS)
    got = events("gemini", (await http.post(request.path, json=request.body)).text)
    assert parts(got[0])[0]["functionCall"] == calls[0]


@pytest.mark.parametrize(
    ("calling", "name"),
    [
        ({"mode": "ANY"}, "weather"),
        ({"mode": "ANY", "allowedFunctionNames": ["news"]}, "news"),
        ({"mode": "AUTO"}, None),
        ({"mode": "NONE"}, None),
    ],
)
async def test_choice_of_tools(http: httpx.AsyncClient, calling: Any, name: str | None) -> None:
    reply = await answer(http, "echo", tools=TOOLS, toolConfig={"functionCallingConfig": calling})
    assert [part["functionCall"]["name"] for part in parts(reply) if "functionCall" in part] == ([name] if name else [])


@pytest.mark.parametrize(
    ("response", "text"), [({"result": "sunny 21"}, "sunny 21"), ({"a": 1, "b": 2}, '{"a": 1, "b": 2}'), (7, "7")]
)
async def test_result_of_a_tool(http: httpx.AsyncClient, response: Any, text: str) -> None:
    result = {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": response}}]}
    reply = await answer(http, "tool", tools=TOOLS, contents=[USER, CALLED, result])
    assert parts(reply) == [{"text": text}]


@pytest.mark.parametrize(
    ("config", "document"),
    [
        ({"responseMimeType": "application/json", "responseSchema": SCHEMA}, DOCUMENT),
        ({"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}, DOCUMENT),
        ({"response_mime_type": "application/json"}, {"text": TEXT}),
    ],
)
async def test_json(http: httpx.AsyncClient, config: Any, document: Any) -> None:
    reply = await answer(http, "echo", generationConfig=config)
    assert json.loads(parts(reply)[0]["text"]) == document


async def test_cap(http: httpx.AsyncClient) -> None:
    reply = await answer(http, "long-4096", generationConfig={"maxOutputTokens": 7})
    assert reply["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert reply["usageMetadata"]["candidatesTokenCount"] == 7


async def test_given_usage(http: httpx.AsyncClient) -> None:
    usage = (await answer(http, "usage-1000-200+cached-300+think-50"))["usageMetadata"]
    assert (usage["promptTokenCount"], usage["cachedContentTokenCount"]) == (1000, 300)
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"], usage["totalTokenCount"]) == (150, 50, 1200)


@pytest.mark.parametrize("headers", [{"x-goog-api-key": "k"}, {"Authorization": "Bearer k"}, {}])
async def test_keys(sandbox: Any, headers: dict[str, str]) -> None:
    request = ask("gemini", "echo")
    async with httpx.AsyncClient(base_url=sandbox.url, headers=headers) as client:
        status = (await client.post(request.path, json=request.body)).status_code
        by_query = (await client.post(request.path + "?key=k", json=request.body)).status_code
    assert (status, by_query) == (200 if headers else 401, 200)


@pytest.mark.parametrize("changes", [{"contents": None}, {"contents": [7]}, {"generationConfig": 7}, {"tools": {}}])
async def test_bad_request(http: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    reply = await answer(http, "echo", **changes)
    assert (reply["error"]["code"], reply["error"]["status"]) == (400, "INVALID_ARGUMENT")

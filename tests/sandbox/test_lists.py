"""What each wire lists, to whoever has a key: the provider's own shape, and its own refusal."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scribe_router.sandbox import Sandbox

LISTS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "openai": ("/v1/models", "Authorization", lambda body: body["data"][0]["id"]),
    "anthropic": ("/anthropic/v1/models", "x-api-key", lambda body: body["data"][0]["id"]),
    "gemini": ("/gemini/models", "x-goog-api-key", lambda body: body["models"][0]["name"].removeprefix("models/")),
    "gemini with a version": ("/gemini/v1beta/models", "x-goog-api-key", lambda body: body["models"][0]["name"][7:]),
    "openrouter's key": ("/v1/key", "Authorization", lambda body: body["data"]["usage"] or "echo"),
}


@pytest.mark.parametrize("name", LISTS)
async def test_it_lists_for_a_key(name: str) -> None:
    path, header, first = LISTS[name]
    prefix = "Bearer " if header == "Authorization" else ""
    async with Sandbox() as sandbox, httpx.AsyncClient(base_url=sandbox.url) as client:
        replies = [
            await client.get(path, headers={header: f"{prefix}{key}"} if key else {})
            for key in ("sandbox-key", "wrong-key", "")
        ]
        assert [reply.status_code for reply in replies] == [200, 401, 401]
        assert first(replies[0].json()) == "echo"
        assert replies[1].json()["error"]
        assert len(sandbox.received) == 3


async def test_ollama_lists_for_everybody() -> None:
    async with Sandbox() as sandbox, httpx.AsyncClient(base_url=sandbox.url) as client:
        reply = await client.get("/ollama/api/tags", headers={"Authorization": "Bearer wrong"})
        assert reply.json()["models"][0]["name"] == "echo:latest"

"""LiteLLM keeps its HTTP clients by event loop for an hour; a test ends its loop sooner.

LiteLLM's own `close_litellm_async_clients` closes those of all loops, and leaves them in its cache, closed.
"""

import asyncio
import sys
from typing import Any

import aiohttp


async def close_litellm_clients() -> None:
    """Close and forget the clients that LiteLLM made in this loop, if it was imported at all."""
    litellm = sys.modules.get("litellm")
    if litellm is None:
        return
    shared = vars(litellm).get("module_level_aclient")
    clients = litellm.in_memory_llm_clients_cache
    for key in [key for key in clients.cache_dict if key.endswith(f"-{id(asyncio.get_running_loop())}")]:
        client = clients.cache_dict.pop(key)
        clients.ttl_dict.pop(key, None)
        if client is not shared:
            await client.close()
    if shared is not None:
        await _leave(shared)


async def _leave(shared: Any) -> None:
    """Close the connections of the one client that all loops share, which streams of Anthropic and Gemini go through:
    its next user gets new ones, and these would be left open."""
    session = getattr(shared.client._transport, "client", None)
    if isinstance(session, aiohttp.ClientSession) and session._loop is asyncio.get_running_loop():
        await session.close()

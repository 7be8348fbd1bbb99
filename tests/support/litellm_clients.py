"""LiteLLM keeps its HTTP clients by event loop for an hour; a test ends its loop sooner.

LiteLLM's own `close_litellm_async_clients` closes those of all loops, and leaves them in its cache, closed.
"""

import asyncio
import sys


async def close_litellm_clients() -> None:
    """Close and forget the clients that LiteLLM made in this loop, if it was imported at all."""
    litellm = sys.modules.get("litellm")
    if litellm is None:
        return
    clients = litellm.in_memory_llm_clients_cache
    for key in [key for key in clients.cache_dict if key.endswith(f"-{id(asyncio.get_running_loop())}")]:
        client = clients.cache_dict.pop(key)
        clients.ttl_dict.pop(key, None)
        await client.close()

"""The proxy on a real socket, in a thread of this process: for tests that compare it with its own router."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from scribe_router.router import Router
from scribe_router.server.app import create_app
from scribe_router.server.boot import OPTIONS, bind
from scribe_router.server.connection import Message, Receive, Scope, Send
from scribe_router.server.guard import Guard
from tests.support.litellm_clients import close_litellm_clients

PATIENCE = 20.0


class Alone:
    """The application in a loop of its own, which takes LiteLLM's clients along when it ends: they would stay in
    LiteLLM's cache with their connections open, until the collector finds them in somebody else's test."""

    def __init__(self, app: Guard) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                await close_litellm_clients()
            await send(message)

        await self._app(scope, receive, closing if scope["type"] == "lifespan" else send)


@contextmanager
def served(router: Router) -> Iterator[str]:
    """Serve a router; gives `http://127.0.0.1:PORT`. The proxy closes the router when the block is left."""
    bound = bind("127.0.0.1", 0)
    config = uvicorn.Config(Alone(create_app(router)), log_level="critical", **OPTIONS)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="proxy", daemon=True)
    thread.start()
    try:
        until = time.monotonic() + PATIENCE
        while not server.started:
            assert thread.is_alive(), "the proxy ended while it started"
            assert time.monotonic() < until, "the proxy did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        bound.close()
        assert not thread.is_alive(), "the proxy did not end"

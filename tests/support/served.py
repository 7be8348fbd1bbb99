"""The proxy on a real socket, in a thread of this process: for tests that compare it with its own router."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from scribe_router.router import Router
from scribe_router.server.app import create_app
from scribe_router.server.boot import OPTIONS, bind

PATIENCE = 20.0


@contextmanager
def served(router: Router) -> Iterator[str]:
    """Serve a router; gives `http://127.0.0.1:PORT`. The proxy closes the router when the block is left."""
    bound = bind("127.0.0.1", 0)
    config = uvicorn.Config(create_app(router), log_level="critical", **OPTIONS)
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

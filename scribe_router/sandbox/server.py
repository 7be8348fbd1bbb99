"""The sandbox's server: all wires on one port, and what arrived there.

`aiohttp.web` because broken connections need the transport, which ASGI hides.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from aiohttp import web

from scribe_router.sandbox import answers as canned
from scribe_router.sandbox.exchange import Exchange, State
from scribe_router.sandbox.fault import Refused, of_status
from scribe_router.sandbox.prompt import Prompt
from scribe_router.sandbox.received import Log, Received
from scribe_router.sandbox.turn import Turn
from scribe_router.sandbox.wire import Call, Endpoint, Wire
from scribe_router.sandbox.wires.anthropic import ANTHROPIC
from scribe_router.sandbox.wires.gemini import GEMINI
from scribe_router.sandbox.wires.ollama import OLLAMA
from scribe_router.sandbox.wires.openai import OPENAI

WIRES: Final[tuple[Wire, ...]] = (OPENAI, ANTHROPIC, GEMINI, OLLAMA)
BODY_LIMIT: Final = 64 * 2**20
GRACE: Final = 0.2
SETTLE: Final = 0.01
BACKLOG: Final = 1024


class Sandbox:
    """A fake provider on a real socket. Model names choose the behaviour; see `scribe_router.sandbox.behaviour`.

    `answers` are canned (a mapping of model to text, a list of rules, or a file), `seed` feeds `random-20pct`, `clock`
    gives the times in `received` in seconds. With `require_key`, any key serves that does not start with `wrong`.
    """

    def __init__(
        self,
        answers: canned.Source = None,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
        *,
        require_key: bool = True,
        log_size: int = 10_000,
    ) -> None:
        dice = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self._log = Log(log_size)
        self._state = State(self._log, canned.load(answers), dice, clock, require_key)
        self._socket: socket.socket | None = None
        self._runner: web.AppRunner | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, once started."""
        if not self._url:
            raise RuntimeError("the sandbox is not running; start it first")
        return self._url

    @property
    def received(self) -> list[Received]:
        """The requests so far, oldest first, those under way included."""
        return self._log.records()

    def clear(self) -> None:
        """Forgets the requests so far, and whose turn it is to fail."""
        self._log.clear()
        self._state.calls.clear()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listens; port 0 takes a free one. Raises `OSError` when the port is taken."""
        if self._socket:
            raise RuntimeError("the sandbox is running already; stop it first")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        # Without cancellation a client that leaves would not end a hanging exchange.
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=GRACE, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=BACKLOG).start()
        shown = f"[{host}]" if ":" in host else host
        self._url = f"http://{shown}:{self._socket.getsockname()[1]}"

    async def stop(self) -> None:
        """Stops within a second; exchanges under way are dropped."""
        runner, listening = self._runner, self._socket
        self._runner, self._socket, self._url = None, None, ""
        if runner and listening:
            # asyncio leaks a connection that it has accepted but not yet set up when its server closes.
            asyncio.get_running_loop().remove_reader(listening)
            await asyncio.sleep(SETTLE)
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_get("/sandbox/health", self._health)
        app.router.add_get("/sandbox/received", self._show)
        app.router.add_delete("/sandbox/received", self._forget)
        for wire in WIRES:
            for endpoint in wire.endpoints:
                app.router.add_route(endpoint.method, endpoint.path, partial(self._exchange, wire, endpoint))
            elsewhere = Endpoint(f"{wire.prefix}/{{rest:.*}}", unknown, nothing, method="*")
            app.router.add_route("*", elsewhere.path, partial(self._exchange, wire, elsewhere))
        return app

    async def _exchange(self, wire: Wire, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        return await Exchange(self._state, wire, endpoint, request).run()

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response([record.as_json() for record in self.received])

    async def _forget(self, _: web.Request) -> web.Response:
        self.clear()
        return web.Response(status=204)


def unknown(_: Call) -> Prompt:
    raise Refused(of_status(404))


def nothing(prompt: Prompt, turn: Turn) -> None:
    return None


async def serve(
    host: str = "127.0.0.1",
    port: int = 4010,
    answers: canned.Source = None,
    *,
    ready: Callable[[Sandbox], None] = lambda sandbox: None,
) -> None:
    """Runs a sandbox until it is cancelled; `ready` is called once it listens."""
    sandbox = Sandbox(answers)
    await sandbox.start(host, port)
    try:
        ready(sandbox)
        await asyncio.Event().wait()
    finally:
        await sandbox.stop()

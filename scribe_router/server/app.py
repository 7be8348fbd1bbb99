"""The ASGI application: a route for each API, health, and one error shape for all of them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from scribe_router import __version__
from scribe_router.encoding import json_bytes
from scribe_router.errors import InternalError, InvalidRequest, ModelNotFound, PermissionDenied, RequestError
from scribe_router.exchange import Api, Call, CallOptions, Json
from scribe_router.listing import offer, offered, offers
from scribe_router.names import did_you_mean
from scribe_router.policies.access import EXPLAIN, administers, may_set
from scribe_router.principals import Principal
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.server.admin import admin_routes
from scribe_router.server.body import json_body
from scribe_router.server.connection import CLIENT_GONE, ClientGone, Receive, Scope, Send, while_connected
from scribe_router.server.events import EventStream
from scribe_router.server.guard import Guard, error_response, refused
from scribe_router.server.headers import answer_headers, explanation
from scribe_router.server.keys import key_routes
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stream import AnswerStream

log = logging.getLogger("scribe_router.server")
LONGEST_USER = 256
READY_SECONDS = 0.5


def create_app(router: Router, admin_port: int | None = None) -> Guard:
    """The proxy for a router; it closes the router when it shuts down. With `admin_port`, what an operator asks is
    answered there, and nowhere else."""
    app = public_app(router, admin=admin_port is None)
    inner = app if admin_port is None else Doors(app, admin_app(router), admin_port)
    return Guard(inner, router.registry.access, router.access.keyring, router.access.audit, router.access.nonces)


def public_app(router: Router, *, admin: bool) -> FastAPI:
    """What clients call, and its life; with what an operator asks, or without."""
    started = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        router.alerts.start()
        router.probes.start()
        warming = asyncio.create_task(router.warm_up())
        warming.add_done_callback(lambda done: started.set() if not done.cancelled() else None)
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            await router.aclose()

    app = _app(router, lifespan=lifespan)
    routes = _routes(router)
    app.include_router(routes, prefix="/v1")
    app.include_router(routes, include_in_schema=False)
    app.include_router(_health(router, started))
    if admin:
        _add_admin(app, router)
    return app


def admin_app(router: Router) -> FastAPI:
    """What an operator asks, alone."""
    app = _app(router, openapi_url=None)
    _add_admin(app, router)
    return app


def _add_admin(app: FastAPI, router: Router) -> None:
    app.include_router(admin_routes(router))
    if router.access.issuer is not None:
        app.include_router(key_routes(router.access))


def _app(router: Router, **options: Any) -> FastAPI:
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)  # noqa: S101  (registered for this class)
        response = refused(router.access.audit, request.scope, error)
        for name, value in explanation(request, error.exchange):
            response.headers.append(name, value)
        return response

    # With redirects a slash too many would send a client to whatever its `Host` says.
    options = {"docs_url": None, "redoc_url": None, "redirect_slashes": False, **options}
    app = FastAPI(title="scribe_router", version=__version__, **options)
    app.add_exception_handler(RequestError, refuse)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientGone, _nobody)
    app.add_exception_handler(Exception, _fault)
    return app


class Doors:
    """Two applications on one process: which one is asked, the port says that the connection came in at."""

    def __init__(self, public: FastAPI, admin: FastAPI, admin_port: int) -> None:
        self._public, self._admin, self._port = public, admin, admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server") or ("", None)
        app = self._admin if scope["type"] == "http" and server[1] == self._port else self._public
        await app(scope, receive, send)


def _routes(router: Router) -> APIRouter:
    routes = APIRouter()

    @routes.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await _serve(router, "chat", request)

    @routes.post("/completions")
    async def completions(request: Request) -> Response:
        return await _serve(router, "completions", request)

    @routes.post("/embeddings")
    async def embeddings(request: Request) -> Response:
        return await _serve(router, "embeddings", request)

    @routes.post("/experiments/outcome")
    async def outcome(request: Request) -> Json:
        return await router.report(await json_body(request.receive), _principal(request))

    @routes.get("/models")
    async def models(request: Request) -> Json:
        return {"object": "list", "data": offers(router.registry, _principal(request).grant)}

    @routes.get("/models/{name:path}")
    async def model(name: str, request: Request) -> Json:
        grant = _principal(request).grant
        if not offered(name, router.registry, grant):
            text = f"this key may not use {name[:100]}; /v1/models lists what it may use"
            raise PermissionDenied(text, code="model_not_allowed", param="model")
        found = offer(name, router.registry, grant)
        if found is None:
            hint = did_you_mean(name, [each["id"] for each in offers(router.registry, grant)])
            raise ModelNotFound(f"no model, group or alias is called {name}{hint}", param="model")
        return found

    return routes


def _health(router: Router, started: asyncio.Event) -> APIRouter:
    routes = APIRouter(prefix="/health")

    @routes.get("/live")
    async def live() -> Json:
        return {"status": "live"}

    @routes.get("/ready")
    async def ready() -> Response:
        if not started.is_set():
            return JSONResponse({"status": "starting"}, status_code=503)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await router.ledger.flush()
        except (StoreUnavailable, TimeoutError):
            return JSONResponse({"status": "not ready", "store": "away"}, status_code=503)
        return JSONResponse({"status": "ready", "store": "ok", "journal_lines_lost": router.journal.lost})

    return routes


async def _serve(router: Router, api: Api, request: Request) -> Response:
    principal = _principal(request)
    if EXPLAIN in request.headers and not may_set(principal.grant, EXPLAIN):
        raise PermissionDenied(f"this key may not send {EXPLAIN}", code="field_not_allowed", param=EXPLAIN)
    body = await json_body(request.receive)
    call = Call(api, body, CallOptions(user=_named_user(router, body, principal), cache=_fresh(request)))
    answer = await while_connected(request.receive, router.serve(call, principal))
    explained = explanation(request, answer.exchange)
    if isinstance(answer, AnswerStream):
        return EventStream(answer, explained)
    response = Response(json_bytes(answer.body), media_type="application/json")
    for name, value in (*answer_headers(Receipt.of(answer.exchange)), *explained):
        response.headers.append(name, value)
    return response


def _principal(request: Request) -> Principal:
    """Who asks, as the guard found it. Raises `KeyError` where no guard stands in front."""
    found: Principal = request.scope["state"]["principal"]
    return found


def _named_user(router: Router, body: Json, principal: Principal) -> str | None:
    """Whom the request says that its money is charged to, where the key may say so."""
    access, user = router.registry.access, body.get("user")
    if access is None or not isinstance(user, str):
        return None
    if not (access.user_from_request if administers(principal) else may_set(principal.grant, "user")):
        return None
    if len(user) > LONGEST_USER:
        raise InvalidRequest(f"user is longer than {LONGEST_USER} letters", code="invalid_value", param="user")
    return user or None


def _fresh(request: Request) -> Literal["no-cache", "no-store"] | None:
    """What the client's `Cache-Control` says of stored answers; the stricter word counts."""
    words = {word.strip().lower() for word in request.headers.get("cache-control", "").split(",")}
    return "no-store" if "no-store" in words else "no-cache" if "no-cache" in words else None


async def _no_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    text = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not possible here"}
    return error_response(
        InvalidRequest(text.get(status, "the request is wrong"), code=f"http_{status}", status=status)
    )


async def _nobody(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _fault(_: Request, error: Exception) -> Response:
    log.error("a fault of the router", exc_info=error)
    return error_response(InternalError("a fault of the router; its log has more"))

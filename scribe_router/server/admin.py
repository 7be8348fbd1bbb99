"""What an operator asks over HTTP: `/admin/…`, for this machine's own principal or the master key."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response

from scribe_router.audit import Audit
from scribe_router.encoding import json_bytes
from scribe_router.errors import InvalidRequest, PermissionDenied, Unavailable
from scribe_router.explain_past import as_json, explained, recorded
from scribe_router.journal import NotRecorded
from scribe_router.names import did_you_mean
from scribe_router.policies.access import administers
from scribe_router.principals import Principal
from scribe_router.reports import questions
from scribe_router.router import Router
from scribe_router.server.connection import while_connected
from scribe_router.server.guard import actor
from scribe_router.stores.contract import StoreUnavailable

REPORTS = {"json": "application/json", "csv": "text/csv; charset=utf-8"}
FORMS = {**REPORTS, "text": "text/plain; charset=utf-8"}


def admin_routes(router: Router) -> APIRouter:
    """The routes. Whatever they read, they read a page at a time, and stop when the client hangs up."""
    routes = APIRouter(prefix="/admin", dependencies=[Depends(administrator(router.access.audit))])

    @routes.get("/spend")
    async def spend(request: Request) -> Response:
        asked = _question(request.query_params)
        work = questions.answer(router.ledger, router.registry.budgets, asked, time.time())
        try:
            text = await while_connected(request.receive, work)
        except StoreUnavailable as error:
            raise Unavailable(str(error), retry_after=1.0) from error
        return Response(text + "\n", media_type=FORMS[asked.form])

    @routes.get("/deployments")
    async def deployments(request: Request) -> Response:
        _only(request.query_params, ())
        return JSONResponse({"deployments": router.health()})

    @routes.get("/limits")
    async def limits() -> Response:
        try:
            return Response(json_bytes({"limits": await router.limiter.state()}), media_type=FORMS["json"])
        except StoreUnavailable as error:
            raise Unavailable(str(error), retry_after=1.0) from error

    @routes.get("/exchanges/{identity}")
    async def exchange(request: Request, identity: str) -> Response:
        _only(request.query_params, ("format",))
        form = request.query_params.get("format", "json")
        if form not in ("json", "text"):
            raise InvalidRequest(f"format: json or text, not {form[:50]}", code="invalid_parameter", param="format")
        work = asyncio.to_thread(_exchange, router, identity, form)
        return Response(await while_connected(request.receive, work), media_type=FORMS[form])

    return routes


def _exchange(router: Router, identity: str, form: str) -> bytes:
    try:
        past = recorded(router.registry.store.journal, identity)
    except NotRecorded as problem:
        raise InvalidRequest(str(problem), code="exchange_not_found", status=404) from None
    return json_bytes(as_json(past, router.registry)) if form == "json" else explained(past, router.registry).encode()


def administrator(audit: Audit) -> Callable[[Request], Awaitable[None]]:
    """What stands in front of each of these routes: the principal has to be one that may, and is written down."""

    async def demand(request: Request) -> None:
        principal: Principal = request.scope["state"]["principal"]
        if not administers(principal):
            raise PermissionDenied(f"{principal.name} may not see what others do; use the master key", code="not_admin")
        audit.write(time.time(), actor(request.scope), f"{request.method} {request.url.path}", "admitted")

    return demand


def _question(asked: QueryParams) -> questions.Question:
    """Raises `InvalidRequest` with the name of the parameter that makes no sense."""
    _only(asked, ("by", "since", "format"))
    try:
        return questions.question(asked.get("by", "model"), asked.get("since"), asked.get("format", "json"), REPORTS)
    except questions.WrongArgument as error:
        raise InvalidRequest(str(error), code="invalid_parameter", param=error.name) from None


def _only(asked: QueryParams, known: Collection[str]) -> None:
    for name in asked:
        if name not in known:
            text = f"there is no parameter {name[:50]}{did_you_mean(name, known)}"
            raise InvalidRequest(text, code="unknown_parameter", param=name[:50])

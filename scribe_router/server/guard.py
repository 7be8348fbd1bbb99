"""Who gets in: an ASGI middleware in front of every route. Without `access.yaml`, only this machine.

On loopback the `Host` header has to be a loopback name and a body has to be JSON, so that no web page can call us.
Whoever is refused for cause, here or by a route, is in the audit log.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.responses import Response

from scribe_router.audit import Actor, Audit
from scribe_router.encoding import json_bytes
from scribe_router.errors import AuthenticationError, InvalidRequest, PermissionDenied, RequestError
from scribe_router.exchange import Grant, Principal
from scribe_router.keyring import Keyring
from scribe_router.policies.access import AccessPolicy, authenticate
from scribe_router.server.connection import Receive, Scope, Send
from scribe_router.server.headers import error_headers

OPEN = ("/health/live", "/health/ready")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_NOBODY = Audit(None)


class Guard:
    """Lets a request through with `scope["state"]["principal"]`, or answers it."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        access: AccessPolicy | None,
        keyring: Keyring | None = None,
        audit: Audit = _NOBODY,
    ) -> None:
        self._app, self._access, self._keyring, self._audit = app, access, keyring, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and scope["path"] not in OPEN:
            headers = Headers(scope=scope)
            try:
                principal = await self._admit(scope, headers)
            except RequestError as refusal:
                key = None if self._keyring is None else self._keyring.identity(_bearer(headers) or "")
                await refused(self._audit, scope, refusal, key_id=key)(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers) -> Principal:
        bearer = _bearer(headers)
        loopback = self._from_here(scope, headers) if self._access is None else False
        principal = authenticate(self._access, bearer, loopback=loopback)
        if principal is None and self._access is None:
            raise PermissionDenied(
                "without policies/access.yaml only this machine may call, under a loopback name", code="loopback_only"
            )
        if principal is None and bearer is None:
            raise AuthenticationError("the key is missing; send Authorization: Bearer <key>")
        if principal is None:
            principal = await self._holder(bearer or "")
        _hold(principal.grant, scope)
        if (
            scope["method"] == "POST"
            and headers.get("content-type", "").partition(";")[0].strip() != "application/json"
        ):
            raise InvalidRequest("the body must be sent as application/json", code="content_type", status=415)
        return principal

    async def _holder(self, bearer: str) -> Principal:
        if self._keyring is None:
            raise AuthenticationError("the key is wrong")
        return await self._keyring.principal(bearer)

    def _from_here(self, scope: Scope, headers: Headers) -> bool:
        client = scope.get("client")
        try:
            here = client is None or ipaddress.ip_address(client[0]).is_loopback
        except ValueError:
            here = False
        host = headers.get("host", "")
        name = host if host in _LOOPBACK else host.rpartition(":")[0]
        return here and name.lower() in _LOOPBACK


def _hold(grant: Grant, scope: Scope) -> None:
    """What else a key demands of a request: where it comes from, and that it is signed. Raises `PermissionDenied` and
    `AuthenticationError`."""
    if grant.addresses and not _within(grant.addresses, address(scope)):
        raise PermissionDenied("this key may not be used from this address", code="address_not_allowed")
    if grant.signed:
        raise AuthenticationError("this key takes signed requests only", code="signature_required")


def _within(networks: tuple[str, ...], host: str) -> bool:
    try:
        peer = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(each) for each in networks)


def _bearer(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else headers.get("x-api-key")


def address(scope: Scope) -> str:
    """Where a request comes from: the other end of its connection, whatever its headers say."""
    client = scope.get("client")
    return str(client[0]) if client else "local"


def actor(scope: Scope) -> Actor:
    """Who asks, for the audit log; without a name before anybody was let in."""
    principal = scope.get("state", {}).get("principal")
    return Actor(principal.name if principal is not None else "", address(scope))


def refused(audit: Audit, scope: Scope, error: RequestError, **more: str | None) -> Response:
    """The answer to a request that failed; for cause, it is a line of the audit log."""
    if error.status in (401, 403):
        act = f"{scope['method']} {scope['path']}"
        said = {"status": error.status, "param": error.param, "reason": error.message, **more}
        audit.write(time.time(), actor(scope), act, error.code, **said)
    return error_response(error)


def error_response(error: RequestError) -> Response:
    """The answer to a request that failed, in OpenAI's error shape."""
    response = Response(json_bytes(error.to_openai()), status_code=error.status, media_type="application/json")
    for name, value in error_headers(error):
        response.headers.append(name, value)
    return response

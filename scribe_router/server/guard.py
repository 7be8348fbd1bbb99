"""Who gets in: an ASGI middleware in front of every route. Without `access.yaml`, only this machine.

On loopback the `Host` header has to be a loopback name and a body has to be JSON, so that no web page can call us.
"""

import ipaddress
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.responses import Response

from scribe_router.encoding import json_bytes
from scribe_router.errors import AuthenticationError, InvalidRequest, PermissionDenied, RequestError
from scribe_router.exchange import Principal
from scribe_router.policies.access import AccessPolicy, authenticate
from scribe_router.server.connection import Receive, Scope, Send
from scribe_router.server.headers import error_headers

OPEN = ("/health/live", "/health/ready")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """Lets a request through with `scope["state"]["principal"]`, or answers it."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], access: AccessPolicy | None) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            try:
                scope.setdefault("state", {})["principal"] = self._admit(scope, Headers(scope=scope))
            except RequestError as refusal:
                await error_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope, headers: Headers) -> Principal:
        loopback = self._from_here(scope, headers) if self._access is None else False
        principal = authenticate(self._access, _bearer(headers), loopback=loopback)
        if principal is None and self._access is None:
            raise PermissionDenied(
                "without policies/access.yaml only this machine may call, under a loopback name", code="loopback_only"
            )
        if principal is None:
            what = "is wrong" if _bearer(headers) else "is missing; send Authorization: Bearer <key>"
            raise AuthenticationError(f"the key {what}")
        if (
            scope["method"] == "POST"
            and headers.get("content-type", "").partition(";")[0].strip() != "application/json"
        ):
            raise InvalidRequest("the body must be sent as application/json", code="content_type", status=415)
        return principal

    def _from_here(self, scope: Scope, headers: Headers) -> bool:
        client = scope.get("client")
        try:
            here = client is None or ipaddress.ip_address(client[0]).is_loopback
        except ValueError:
            here = False
        host = headers.get("host", "")
        name = host if host in _LOOPBACK else host.rpartition(":")[0]
        return here and name.lower() in _LOOPBACK


def _bearer(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else headers.get("x-api-key")


def error_response(error: RequestError) -> Response:
    """The answer to a request that failed, in OpenAI's error shape."""
    response = Response(json_bytes(error.to_openai()), status_code=error.status, media_type="application/json")
    for name, value in error_headers(error):
        response.headers.append(name, value)
    return response

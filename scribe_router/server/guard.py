"""Who gets in: an ASGI middleware in front of every route. Without `access.yaml`, only this machine.

On loopback the `Host` header has to be a loopback name and a body has to be JSON, so that no web page can call us.
Whoever is refused for cause, here or by a route, is in the audit log.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import cast, get_args

from starlette.datastructures import Headers
from starlette.responses import Response

from scribe_router.audit import Actor, Audit
from scribe_router.encoding import json_bytes
from scribe_router.errors import AuthenticationError, InvalidRequest, PermissionDenied, RequestError
from scribe_router.keyring import WRONG, Keyring
from scribe_router.policies.access import AccessPolicy, authenticate
from scribe_router.policies.addresses import Address, Forwarding, Network, NoAddress, client, networks, within
from scribe_router.policies.signing import SIGNATURE, BadSignature, Claim, Signable, claim
from scribe_router.principals import Principal
from scribe_router.replay import CODE, demand
from scribe_router.server.body import again, in_time, whole
from scribe_router.server.connection import ClientGone, Receive, Scope, Send
from scribe_router.server.headers import error_headers
from scribe_router.stores.nonces import Nonces

MOST_HEADERS = 100  # their size has a limit where they are parsed, 64 KiB
OPEN = ("/health/live", "/health/ready")
TWO_LENGTHS = "two_lengths"
FORWARDED = get_args(Forwarding)
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
        nonces: Nonces | None = None,
    ) -> None:
        self._app, self._access, self._keyring, self._audit, self._nonces = app, access, keyring, audit, nonces
        self._trusted = _networks(access.trusted_proxies) if access is not None else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            receive = in_time(receive)
            headers = Headers(scope=scope)
            try:
                _demand_sound(headers)
                if scope["path"] not in OPEN:
                    receive = await self._admit(scope, headers, receive)
            except RequestError as refusal:
                await refused(self._audit, scope, refusal, key_id=self._identity(headers))(scope, receive, send)
                return
            except ClientGone:
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Puts the principal into the scope; gives what the body is read from. Raises a `RequestError`."""
        if self._access is None:
            principal = self._local(scope, headers)
        else:
            scope.setdefault("state", {})["address"] = address = self._origin(scope, headers, self._access)
            _demand_address(self._access.addresses, address, "nobody may call from this address")
            claimed = _claim(headers)
            if claimed is None:
                principal = await self._holder(headers, self._access)
            else:
                principal, receive = await self._signer(claimed, scope, receive)
            _demand_address(principal.grant.addresses, address, "this key may not be used from this address")
            if principal.grant.signed and claimed is None:
                raise AuthenticationError("this key takes signed requests only", code="signature_required")
        _demand_json(scope, headers)
        scope.setdefault("state", {})["principal"] = principal
        return receive

    async def _holder(self, headers: Headers, access: AccessPolicy) -> Principal:
        """Whoever shows a key."""
        bearer = _bearer(headers)
        if bearer is None:
            raise AuthenticationError("the key is missing; send Authorization: Bearer <key>")
        principal = authenticate(access, bearer, loopback=False)
        if principal is None and self._keyring is None:
            raise AuthenticationError(WRONG)
        return principal or await cast("Keyring", self._keyring).principal(bearer)

    async def _signer(self, claimed: Claim, scope: Scope, receive: Receive) -> tuple[Principal, Receive]:
        """Whoever signs; and the body again, which the signature is over. Nothing is read for an id that is no key's,
        or that may not call from here."""
        if self._keyring is None or self._nonces is None:
            raise AuthenticationError(WRONG)
        signer = await self._keyring.signer(claimed.key)
        allowed, address = signer.principal.grant.addresses, scope["state"]["address"]
        _demand_address(allowed, address, "this key may not be used from this address")
        body = await whole(receive)
        sent = Signable(scope["method"], scope["raw_path"], scope["query_string"], body)
        await demand(claimed, sent, signer.secrets, self._nonces, time.time())
        if signer.over is not None:
            raise AuthenticationError(f"the key {signer.over}")
        return signer.principal, again(body, receive)

    def _identity(self, headers: Headers) -> str | None:
        """The public part of the key that a request comes with, for the audit log."""
        if self._keyring is None:
            return None
        signed = headers.get(SIGNATURE, "").split(":")[1:2]
        return signed[0] if signed else self._keyring.identity(_bearer(headers) or "")

    def _origin(self, scope: Scope, headers: Headers, access: AccessPolicy) -> Address | None:
        """Where a request comes from, as far as that can be told."""
        peer = scope.get("client")
        said = headers.getlist(access.forwarded_header) if self._trusted else ()
        try:
            return client(str(peer[0]) if peer else None, said, self._trusted, access.forwarded_header)
        except NoAddress:
            return None

    def _local(self, scope: Scope, headers: Headers) -> Principal:
        """Whoever is on this machine."""
        principal = authenticate(None, None, loopback=self._from_here(scope, headers))
        if principal is None:
            raise PermissionDenied(
                "without policies/access.yaml only this machine may call, under a loopback name", code="loopback_only"
            )
        return principal

    def _from_here(self, scope: Scope, headers: Headers) -> bool:
        client = scope.get("client")
        try:
            here = client is None or ipaddress.ip_address(client[0]).is_loopback
        except ValueError:
            here = False
        if any(name in headers for name in FORWARDED):
            return False  # a proxy on this machine, for whoever is behind it
        host = headers.get("host", "")
        name = host if host in _LOOPBACK else host.rpartition(":")[0]
        return here and name.lower() in _LOOPBACK


def _demand_address(allowed: tuple[str, ...], origin: Address | None, why: str) -> None:
    if allowed and (origin is None or not within(origin, _networks(allowed))):
        raise PermissionDenied(why, code="address_not_allowed")


def _demand_sound(headers: Headers) -> None:
    if len(headers.raw) > MOST_HEADERS:
        text = f"the request has more than {MOST_HEADERS} headers"
        raise InvalidRequest(text, code="too_many_headers", status=431)
    if "transfer-encoding" in headers and "content-length" in headers:
        # A proxy in front that goes by the other one would take what follows for somebody else's request.
        raise InvalidRequest(
            "the request says twice how long its body is; send Content-Length or Transfer-Encoding, not both",
            code=TWO_LENGTHS,
        )


def _demand_json(scope: Scope, headers: Headers) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] == "POST" and kind != "application/json":
        raise InvalidRequest("the body must be sent as application/json", code="content_type", status=415)


def _claim(headers: Headers) -> Claim | None:
    try:
        return claim(headers)
    except BadSignature as problem:
        raise AuthenticationError(str(problem), code=CODE) from None


@lru_cache(maxsize=4096)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return networks(texts)


def _bearer(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else headers.get("x-api-key")


def address(scope: Scope) -> str:
    """Where a request comes from: the other end of its connection, or who a trusted proxy says it is."""
    found = scope.get("state", {}).get("address")
    peer = scope.get("client")
    return str(found) if found is not None else str(peer[0]) if peer else "local"


def actor(scope: Scope) -> Actor:
    """Who asks, for the audit log; without a name before anybody was let in."""
    principal = scope.get("state", {}).get("principal")
    return Actor(principal.name if principal is not None else "", address(scope))


def refused(audit: Audit, scope: Scope, error: RequestError, **more: str | None) -> Response:
    """The answer to a request that failed; for cause, it is a line of the audit log."""
    if error.status in (401, 403):
        act = f"{scope['method']} {scope['path']}"
        said = {"status": error.status, "param": error.param, "reason": error.message, **more}
        audit.refused(time.time(), actor(scope), act, error.code, **said)
    return error_response(error)


def error_response(error: RequestError) -> Response:
    """The answer to a request that failed, in OpenAI's error shape."""
    response = Response(json_bytes(error.to_openai()), status_code=error.status, media_type="application/json")
    for name, value in error_headers(error):
        response.headers.append(name, value)
    if error.status in (408, 413) or error.code == TWO_LENGTHS:  # what still comes is not wanted
        response.headers["connection"] = "close"
    return response

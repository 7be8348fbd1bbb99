"""`/admin/keys`: what `scribe-router keys` does, over HTTP. A secret is told to who made it, and never again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, Request

from scribe_router.access import Access
from scribe_router.errors import InvalidRequest, Unavailable
from scribe_router.exchange import Json
from scribe_router.issuer import Issued, Issuer
from scribe_router.keyring import Keyring
from scribe_router.names import did_you_mean
from scribe_router.server.admin import administrator
from scribe_router.server.body import json_body
from scribe_router.server.guard import actor
from scribe_router.stores.contract import StoreUnavailable


def key_routes(access: Access) -> APIRouter:
    """The routes of one configuration that has keys."""
    assert access.issuer is not None and access.keyring is not None  # noqa: S101, PT018  (who has none adds no routes)
    issuer, keyring = access.issuer, access.keyring
    routes = APIRouter(prefix="/admin/keys", dependencies=[Depends(administrator(access.audit))])
    _reading(routes, issuer)
    _writing(routes, issuer, keyring)
    return routes


def _reading(routes: APIRouter, issuer: Issuer) -> None:
    @routes.get("")
    async def every() -> Json:
        async with _store():
            return {"keys": [key.described() async for key in issuer.every()]}

    @routes.get("/{name}")
    async def show(name: str) -> Json:
        async with _store():
            return (await issuer.show(name)).described()


def _writing(routes: APIRouter, issuer: Issuer, keyring: Keyring) -> None:
    @routes.post("")
    async def create(request: Request) -> Json:
        asked = await json_body(request.receive)
        async with _store(keyring):
            return _told(await issuer.create(asked, actor(request.scope)))

    @routes.post("/{name}/rotate")
    async def rotate(name: str, request: Request) -> Json:
        asked = _only(await json_body(request.receive), ("grace",))
        async with _store(keyring):
            return _told(await issuer.rotate(name, asked.get("grace"), actor(request.scope)))

    @routes.post("/{name}/revoke")
    async def revoke(name: str, request: Request) -> Json:
        _only(await json_body(request.receive), ())
        async with _store(keyring):
            return (await issuer.revoke(name, actor(request.scope))).described()


def _told(issued: Issued) -> Json:
    signing = {"signing_secret": issued.signing_secret} if issued.signing_secret else {}
    return {"key": issued.text, **signing, **issued.key.described()}


@asynccontextmanager
async def _store(changed: Keyring | None = None) -> AsyncIterator[None]:
    """Around what asks the store; what was `changed` there counts here at once."""
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable(str(error), retry_after=1.0) from error
    finally:
        if changed is not None:
            changed.forget()


def _only(asked: Json, known: tuple[str, ...]) -> Json:
    for name in asked:
        if name not in known:
            text = f"there is no parameter {name[:50]}{did_you_mean(name, known)}"
            raise InvalidRequest(text, code="unknown_parameter", param=name[:50])
    return asked

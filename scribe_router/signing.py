"""The client's side of signed requests, for `httpx` and for clients that take one of its clients:

    client = OpenAI(base_url=..., api_key="none", http_client=httpx.Client(auth=SignedAuth(KEY_ID, SECRET)))

A client that tries again sends another request, with a nonce of its own.
"""

import secrets
import time
from collections.abc import Callable, Generator
from typing import Any

import httpx

from scribe_router.policies.signing import Signable, signed


class SignedAuth(httpx.Auth):
    """Signs each request as it is sent. `clock` gives seconds since the epoch, `nonce` a text that never comes twice.

    The whole body is signed, so a body that is made in parts is read before it is sent; answers may be streams.
    """

    requires_request_body = True

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        self._key, self._secret, self._clock, self._nonce = key, secret.encode(), clock, nonce

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with its three headers."""
        self._sign(request)
        yield request

    def __call__(self, request: Any) -> Any:
        """The same as a function, for `httpx2`, whose clients know no other class than their own `Auth`. A body that is
        made in parts asynchronously cannot be signed so."""
        request.read()
        self._sign(request)
        return request

    def _sign(self, request: Any) -> None:
        path, _, query = request.url.raw_path.partition(b"?")
        sent = Signable(request.method, path, query, request.content)
        request.headers.update(signed(self._secret, self._key, int(self._clock()), self._nonce(), sent))

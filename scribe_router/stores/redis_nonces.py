"""Nonces on a Redis, single or a cluster, for all machines: one `SET NX` each, which ends there by itself.

Its memory bounds them; the policy `noeviction`, which the ledger asks for too, keeps it from forgetting one early. One
that was acknowledged and lost in a failover can come a second time.
"""

import asyncio
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_cluster import SCHEMES, Cluster
from scribe_router.stores.redis_link import Fault, OneServer, Waiting

SILENT = 0.5  # seconds


class RedisNonces:
    """`redis://`, `rediss://` or `redis+cluster://HOST:PORT,HOST:PORT`."""

    def __init__(self, url: str, clock: Callable[[], float], silent: float = SILENT) -> None:
        parts = urlsplit(url)
        self._place, self._clock = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", clock
        kind = Cluster if parts.scheme in SCHEMES else OneServer
        self._link = kind(url, waiting=Waiting(silent), accepted_loss=True, writes=False)
        self._lock = threading.Lock()

    async def remember(self, nonce: str, until: float) -> bool:
        """As `Nonces`."""
        return await asyncio.to_thread(self._remember, nonce, until)

    def close(self) -> None:
        with self._lock:
            self._link.close()

    def _remember(self, nonce: str, until: float) -> bool:
        key, left = f"scribe:nonce:{nonce}", max(1, int((until - self._clock()) * 1000))
        with self._lock:
            (answer,) = self._link.run([Call(key, ("SET", key, 1, "NX", "PX", left))])
        if isinstance(answer, Fault):
            raise StoreUnavailable(f"{self._place}: {answer}") from answer
        return answer is not None

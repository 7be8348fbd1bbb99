"""Answers on a Redis, single or a cluster, for all machines. They end there by themselves, and are bounded there.

It asks for no durability: an answer that is lost is asked for again.
"""

from urllib.parse import urlsplit

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_cluster import SCHEMES, Cluster
from scribe_router.stores.redis_link import Fault, OneServer, Waiting

SILENT = 0.050  # seconds


class RedisAnswers:
    """`redis://`, `rediss://` or `redis+cluster://HOST:PORT,HOST:PORT`. One thread at a time."""

    waits = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        kind = Cluster if parts.scheme in SCHEMES else OneServer
        self._link = kind(url, waiting=Waiting(SILENT), accepted_loss=True, writes=False)

    def get(self, key: str) -> bytes | None:
        found = self._ask(f"scribe:answer:{key}", "GET")
        return None if found is None else str(found).encode()

    def put(self, key: str, answer: bytes, seconds: float) -> None:
        self._ask(f"scribe:answer:{key}", "SET", answer.decode(), "PX", max(1, int(seconds * 1000)))

    def close(self) -> None:
        self._link.close()

    def _ask(self, key: str, command: str, *arguments: str | int) -> object:
        (answer,) = self._link.run([Call(key, (command, key, *arguments))])
        if isinstance(answer, Fault):
            raise StoreUnavailable(str(answer)) from answer
        return answer

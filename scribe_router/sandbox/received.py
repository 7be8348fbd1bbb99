"""What arrived at the sandbox, kept in a bounded log: requests as bytes, and how each of them ended."""

import json
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import Any

from multidict import CIMultiDictProxy

from scribe_router.sandbox.turn import Usage


@dataclass(frozen=True)
class Received:
    """One request. Times are seconds of the sandbox's clock.

    `replied_at` is when the last byte of the reply, or of its failure, was written: `None` while it is under way, and
    for good when the client left or no reply was ever meant. `finished` says that the whole reply was handed over.
    `status` is `None` when no head was sent. `billed` is the true usage, whatever the reply told of it.
    """

    method: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    body: bytes
    arrived_at: float
    model: str = ""
    replied_at: float | None = None
    finished: bool = False
    status: int | None = None
    billed: Usage | None = None

    @property
    def json(self) -> Any:
        """The body as JSON; `None` when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def as_json(self) -> dict[str, Any]:
        """The record as it goes over HTTP."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [list(pair) for pair in self.headers.items()],
            "body": self.body.decode(errors="replace"),
            "json": self.json,
            "model": self.model,
            "arrived_at": self.arrived_at,
            "replied_at": self.replied_at,
            "finished": self.finished,
            "status": self.status,
            "billed": asdict(self.billed) if self.billed else None,
        }


class Log:
    """The latest requests in order of arrival. Records are replaced as they proceed; other threads may read.

    Bounded in records and in bytes of their bodies; the oldest go first.
    """

    def __init__(self, size: int, most_bytes: int = 256 * 2**20) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._bytes = 0
        self._records: OrderedDict[int, Received] = OrderedDict()
        self._lock = threading.Lock()
        self._number = 0

    def open(self, record: Received) -> int:
        """Adds a request and returns its number."""
        with self._lock:
            self._number += 1
            self._records[self._number] = record
            self._bytes += len(record.body)
            while len(self._records) > self._size or self._bytes > self._most_bytes:
                self._bytes -= len(self._records.popitem(last=False)[1].body)
            return self._number

    def amend(self, number: int, **changes: Any) -> None:
        """Notes how a request proceeds; nothing when it has been cleared since."""
        with self._lock:
            if record := self._records.get(number):
                self._records[number] = replace(record, **changes)

    def records(self) -> list[Received]:
        with self._lock:
            return list(self._records.values())

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes = 0

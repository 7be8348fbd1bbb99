"""Connections to Redis: many commands in one round trip, and for each an answer or what is known of its fate.

`NotSent`: the server did not run it (`Again`: it will, next time). `Lost`: it may have run, now or later. This module
knows sockets and servers. It must never know what a script does. Times are in seconds.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from scribe_router.stores.redis_calls import SCRIPTS, Call

PAUSE = 0.05
DAY = 86400
NOT_RUN = (ReadOnlyError, OutOfMemoryError, NoPermissionError, ClusterDownError, TryAgainError)
NOT_RUN_CODES = ("MISCONF", "NOREPLICAS", "BUSY ")
FORGOT = (
    "it was emptied, or came back without its last writes; "
    "nothing is reserved until its counters are rebuilt from its rows"
)
DURABLE = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


class Fault(Exception):
    """A command without an answer."""


class NotSent(Fault):
    """The server did not run it. `lasting`: waiting does not help, somebody has to act."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class Forgot(NotSent):
    """The server came back without what it had acknowledged."""


class Again(NotSent):
    """The server did not run it, and will when it is sent again."""


class Lost(Fault):
    """It was sent, and nobody knows whether it ran, or will."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait for a server: `times` the `deadline` (seconds), and what to do after each."""

    deadline: float
    times: int = 1
    silent: Callable[[str], None] = lambda problem: None


class Link(Protocol):
    """A way to the servers of one ledger. One thread at a time."""

    def open(self) -> None:
        """Connect, where that is needed. Raises `NotSent`."""

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """An answer for each call, or a `Fault` in its place."""

    def close(self) -> None: ...


class Marks:
    """The last round trip that each server acknowledged, under a key of this process.

    A server's log is one sequence: if the last write survived a restart or a failover, all before it did. Measured on a
    disk that takes 0.4 s to sync: with `appendfsync everysec`, 4 of 25 killed servers had lost acknowledged writes.
    """

    def __init__(self) -> None:
        self.number = 0
        self.known: dict[str, int] = {}
        self._process = uuid.uuid4().hex

    def key(self, key: str) -> str:
        """A key in the same slot."""
        return f"{key.partition('}')[0]}}}:mark:{self._process}"

    def verify(self, connection: Any) -> None:
        """Raises `Forgot` when a mark that this server should have is older than what it acknowledged."""
        keys = list(self.known)
        for key, found in zip(keys, _exchange(connection, [("GET", key) for key in keys]), strict=True):
            if not isinstance(found, ResponseError) and int(found or 0) < self.known[key]:
                self.known.clear()
                raise Forgot(FORGOT, lasting=True)


class Node:
    """One server, connected when it is needed; after a failure it is left alone for a moment.

    Who only reads (without marks) neither demands durability nor loads scripts. That a server is silent is
    the kernel's to tell: a process that had no turn of the processor finds the answer there, and takes no server for
    dead.
    """

    def __init__(
        self, options: Mapping[str, Any], *, waiting: Waiting, accepted_loss: bool, marks: Marks | None
    ) -> None:
        kind: Callable[..., Any] = options.get("connection_class", Connection)
        common = {"retry": Retry(NoBackoff(), 0), "encoding_errors": "surrogatepass", "decode_responses": True}
        given = {name: value for name, value in options.items() if name != "connection_class"}
        times = {"socket_timeout": waiting.deadline, "socket_connect_timeout": waiting.deadline}
        self._waiting = waiting
        self._make: Callable[[], Any] = lambda: kind(**common | times | given | {"protocol": 2})
        self._accepted_loss, self._marks = accepted_loss, marks
        self._mark: str | None = None
        self._connection: Any = None
        self._failed: NotSent | None = None
        self._retry_at = 0.0

    def open(self) -> None:
        """Connect, see that the server keeps what it acknowledges, load the scripts. Raises `NotSent`."""
        if self._connection is not None:
            return
        if self._failed is not None and time.monotonic() < self._retry_at:
            raise self._failed
        connection = self._make()
        try:
            connection.connect()
            if self._marks is not None:
                self._prepare(connection, self._marks)
        except (RedisError, OSError, NotSent) as problem:
            connection.disconnect()
            raise self._fail(_explained(problem)) from problem
        self._connection, self._failed = connection, None

    def _prepare(self, connection: Any, marks: Marks) -> None:
        if not self._accepted_loss:
            _check_durability(connection)
            marks.verify(connection)
        _exchange(connection, [("SCRIPT", "LOAD", script.text) for script in SCRIPTS])

    def send(self, calls: Sequence[Call]) -> None:
        """Raises `NotSent` when there is no connection, `Lost` when it breaks."""
        self.open()
        connection, commands = self._connected(), [call.command for call in calls]
        if self._marks is not None and not self._accepted_loss:
            self._marks.number += 1
            self._mark = self._mark or self._marks.key(calls[0].key)
            commands.append(("SET", self._mark, self._marks.number, "EX", DAY))
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        except (RedisError, OSError) as problem:
            raise self._lost(problem) from problem

    def receive(self, count: int) -> list[Any]:
        """The answers to what was sent, errors of the server among them. Raises `Lost`."""
        connection = self._connected()
        try:
            answers = [self._awaited(connection) for _ in range(count)]
            if self._mark is not None and self._marks is not None:
                self._acknowledge(self._marks, self._mark, self._awaited(connection))
        except (RedisError, OSError) as problem:
            raise self._lost(problem) from problem
        if any(isinstance(answer, NoScriptError) for answer in answers):
            self.close()  # opening loads them
        return answers

    def _awaited(self, connection: Any) -> Any:
        problem = f"no answer within {self._waiting.deadline * 1000:.0f} ms"
        for _ in range(self._waiting.times):
            if connection.can_read(self._waiting.deadline):
                return _answer(connection)
            self._waiting.silent(problem)
        raise RedisTimeout(problem)

    def _acknowledge(self, marks: Marks, mark: str, answer: Any) -> None:
        if isinstance(answer, ResponseError):
            marks.known.pop(mark, None)  # its slot has moved
            self._mark = None
        else:
            marks.known[mark] = marks.number

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Send and receive. Raises `NotSent` and `Lost`."""
        self.send(calls)
        return self.receive(len(calls))

    def ask(self, *command: str) -> Any:
        """The answer to one command that is about no key. Raises `NotSent` and `Lost`."""
        self.open()
        connection = self._connected()
        try:
            return _exchange(connection, [command])[0]
        except (RedisError, OSError) as problem:
            raise self._lost(problem) from problem

    def close(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
        self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            raise Lost("the connection was closed")
        return self._connection

    def _lost(self, problem: Exception) -> Lost:
        self.close()
        self._fail(NotSent(str(problem)))
        return Lost(str(problem))

    def _fail(self, failed: NotSent) -> NotSent:
        self._failed, self._retry_at = failed, time.monotonic() + (0.0 if isinstance(failed, Forgot) else PAUSE)
        return failed


class OneServer:
    """The link to one Redis."""

    def __init__(self, url: str, *, waiting: Waiting, accepted_loss: bool, writes: bool) -> None:
        marks = Marks() if writes else None
        self._node = Node(parsed(url), waiting=waiting, accepted_loss=accepted_loss, marks=marks)

    def open(self) -> None:
        self._node.open()

    def run(self, calls: Sequence[Call]) -> list[Any]:
        try:
            return [fate(answer) for answer in self._node.run(calls)]
        except Fault as problem:
            return [problem] * len(calls)

    def close(self) -> None:
        self._node.close()


def parsed(url: str) -> dict[str, Any]:
    """The options of a connection, from `redis://` or `rediss://`. Raises `ValueError`."""
    parse: Callable[[str], dict[str, Any]] = parse_url
    return parse(url)


def fate(answer: Any) -> Any:
    """The answer, or the fault that an error of the server is."""
    if not isinstance(answer, ResponseError):
        return answer
    text = str(answer)
    if isinstance(answer, NoScriptError):
        return Again(text)
    if isinstance(answer, NOT_RUN) or text.startswith(NOT_RUN_CODES):
        return NotSent(text.lower())
    if isinstance(answer, AskError):
        return NotSent("it is a cluster; name it redis+cluster://", lasting=True)
    return Lost(text)


def _exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    if not commands:
        return []
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [_answer(connection) for _ in commands]


def _explained(problem: Exception) -> NotSent:
    if isinstance(problem, NotSent):
        return problem
    return NotSent(str(problem), lasting=isinstance(problem, AuthenticationError | NoPermissionError))


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as problem:
        return problem


def _check_durability(connection: Any) -> None:
    """Raises `NotSent` unless the server keeps what it acknowledges."""
    for name, needed in DURABLE.items():
        (found,) = _exchange(connection, [("CONFIG", "GET", name)])
        if isinstance(found, ResponseError):
            raise NotSent(
                f"{found}: whether it keeps what it acknowledges cannot be read; allow CONFIG GET, or accept a loss",
                lasting=True,
            ) from found
        if found[1:2] != [needed]:
            raise NotSent(
                f"{name} is {found[1] if found[1:] else 'unknown'}, so it may lose what it acknowledged; "
                f"set it to {needed}, or accept the loss",
                lasting=True,
            )

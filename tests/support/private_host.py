"""A service that only this machine can reach: it gives a picture to whoever asks, or sends them on; and who asked."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from scribe_router.sandbox.mcp_server import SMALLEST_PNG


@dataclass
class Private:
    """It listens on `port` of 127.0.0.1 and of ::1; `asked` are the paths that anybody asked for."""

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Dual(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


@contextmanager
def private_host() -> Iterator[Private]:
    """Such a service. `/to/TARGET`, its target escaped, sends on to there; `/status/N` says that; every other path
    is a picture."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
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

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name)
            return

    server = _Dual(("::", 0), Answer)
    found = Private(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()

"""One of Python's own HTTP servers, in a thread, on this machine alone."""

import socket
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Six(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Answers(BaseHTTPRequestHandler):
    """What answers a GET and a POST; it writes no log."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    @abstractmethod
    def answer(self) -> None: ...

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name)
        return


@contextmanager
def answering(answers: type[Answers], host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Serve at the host; gives the port."""
    kind = _Six if ":" in host else ThreadingHTTPServer
    server = kind((host, port), answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()

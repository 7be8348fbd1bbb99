"""A host that answers with given pages, in a thread: for commands that bring a loop of their own."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Host:
    """`asked` are the paths that were asked for, `agents` the `User-Agent` of each."""

    url: str
    asked: list[str] = field(default_factory=list)
    agents: list[str | None] = field(default_factory=list)


@contextmanager
def hosting(pages: Mapping[str, bytes | int]) -> Iterator[Host]:
    """Serve a body, or only a status, for each path; 404 for every other."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked.append(self.path)
            host.agents.append(self.headers["User-Agent"])
            page = pages.get(self.path, 404)
            body = page if isinstance(page, bytes) else b""
            self.send_response(page if isinstance(page, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name)
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    host = Host(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()

"""A provider that tells everybody what it was sent: each error quotes the request's headers and its key."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_thread import Answers, answering


@dataclass
class Host:
    """`seen` are the headers of each request that came, as text."""

    url: str
    seen: list[str] = field(default_factory=list)


class _Echo(Answers):
    """`/400/…` answers with that status, `/200/…` with an error inside an answer, `/event/…` with one inside a stream,
    `/text/…` with text that is no JSON, `/cut/…` with a reply that ends too early."""

    host: Host

    def answer(self) -> None:
        self.host.seen.append(str(self.headers))
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        kind = self.path.split("/")[1]
        said = f"you came with {dict(self.headers.items())} to {self.path}"
        error: Any = {"error": {"message": said, "type": "invalid_request_error", "param": said, "code": said}}
        text = said if kind in ("text", "cut") else json.dumps(error)
        content = f"data: {text}\n\n" if kind == "event" else text
        self.send_response(int(kind) if kind.isdigit() else 200)
        self.send_header("Content-Type", "text/event-stream" if kind == "event" else "application/json")
        self.send_header("Content-Length", str(len(content.encode()) + (100 if kind == "cut" else 0)))
        self.send_header("X-Seen", said)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content.encode())
        self.close_connection = True


@contextmanager
def echoing() -> Iterator[Host]:
    """Such a provider on this machine."""

    class Echo(_Echo):
        host = Host("")

    with answering(Echo) as port:
        Echo.host.url = f"http://127.0.0.1:{port}"
        yield Echo.host

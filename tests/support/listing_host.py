"""A host that answers with given pages, in a thread: for commands that bring a loop of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.http_thread import Answers, answering


@dataclass
class Host:
    """`asked` are the paths that were asked for, `agents` the `User-Agent` of each."""

    url: str
    asked: list[str] = field(default_factory=list)
    agents: list[str | None] = field(default_factory=list)


@contextmanager
def hosting(pages: Mapping[str, bytes | int]) -> Iterator[Host]:
    """Serve a body, or only a status, for each path; 404 for every other."""

    class Pages(Answers):
        def answer(self) -> None:
            host.asked.append(self.path)
            host.agents.append(self.headers["User-Agent"])
            page = pages.get(self.path, 404)
            body = page if isinstance(page, bytes) else b""
            self.send_response(page if isinstance(page, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(body)

    host = Host("")
    with answering(Pages) as port:
        host.url = f"http://127.0.0.1:{port}"
        yield host

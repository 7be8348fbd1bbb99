"""A real HTTP server that takes posts as a webhook does, in the loop of the test; it answers as it is told."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Received:
    """`posts` are the payloads so far, those that were answered with an error too."""

    def __init__(self, url: str, posts: list[Any]) -> None:
        self.url, self.posts = url, posts


@asynccontextmanager
async def webhook(statuses: Iterable[int] = ()) -> AsyncIterator[Received]:
    """Serve on a free port; `statuses` are the first answers, every later one is 200."""
    posts: list[Any] = []
    answers = iter(statuses)

    async def take(request: web.Request) -> web.Response:
        posts.append(await request.json())
        status = next(answers, 200)
        return web.Response(status=status, headers={"location": "/elsewhere"} if status // 100 == 3 else {})

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Received(f"http://127.0.0.1:{runner.addresses[0][1]}/hook", posts)
    finally:
        await runner.cleanup()

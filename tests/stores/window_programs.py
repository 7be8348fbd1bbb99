"""A process that has requests in use on a shared Redis until it is killed."""

import asyncio
import sys

from scribe_router.counters import Draw
from scribe_router.stores.redis_windows import RedisWindows


async def main(url: str, lease: str, most: str) -> None:
    windows = RedisWindows(url, lease=float(lease), deadline=5.0)
    draw = Draw("p", "provider:x", "concurrent", int(most))
    taken = 0
    while (await windows.take((draw,))).granted:
        taken += 1
    print(taken, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

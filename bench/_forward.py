"""What benchmarks measure with: a sandbox in a process of its own, processor time, rounds in which all take turns."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this tree is measured, wherever else the package is installed

from scribe_router.stores.contract import Granted, Refused, Row, Settlement  # noqa: E402
from scribe_router.stores.sqlite import SqliteLedger  # noqa: E402

IN_FLIGHT = 32
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 100}
PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}
SANDBOX = """
import asyncio
from scribe_router.sandbox import serve
asyncio.run(serve(port=0, ready=lambda sandbox: print(sandbox.url, flush=True)))
"""

Work = Callable[[], Awaitable[object]]


class Free(SqliteLedger):
    """Grants everything, and writes nothing."""

    async def reserve(self, row: Row, floor: int) -> Granted | Refused:
        return Granted(row.bound)

    def settle(self, settlement: Settlement) -> None:
        return None


@contextmanager
def sandbox() -> Iterator[str]:
    """A sandbox whose processor time is not ours."""
    with subprocess.Popen([sys.executable, "-c", SANDBOX], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield (process.stdout or sys.stdin).readline().strip()
        finally:
            process.kill()


def model(name: str, base: str) -> dict[str, Any]:
    """An entry of `model_list` that echoes."""
    params = {"model": "openai/echo", "api_base": f"{base}/v1", "api_key": "k"}
    return {"model_name": name, "litellm_params": params, "model_info": PRICE}


def configure(folder: Path, config: Mapping[str, Any], policies: Mapping[str, Any]) -> Path:
    """A configuration in a folder of its own, with a ledger."""
    (folder / "policies").mkdir(parents=True)
    for name, content in {"store": {"ledger": f"sqlite:{folder}/ledger.sqlite3"}, **policies}.items():
        (folder / "policies" / f"{name}.yaml").write_text(json.dumps(content))
    (folder / "litellm_config.yaml").write_text(json.dumps(config))
    return folder / "litellm_config.yaml"


async def costs(work: Work, calls: int) -> float:
    """Processor time of one call, in microseconds, all threads counted."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for _ in numbers:
            await work()

    began = time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return (time.process_time() - began) / calls * 1e6


async def measured(works: Mapping[str, Work], rounds: int, calls: int) -> dict[str, list[float]]:
    """What each cost in each of the rounds, in which all take turns; the first round warms up."""
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for name, work in works.items():
            cost = await costs(work, calls)
            if number:
                found.setdefault(name, []).append(cost)
    return found

"""What a plan costs beside a bare forward, in processor time: `python bench/planning.py [--quick]`.

A group of ten among 1,000 deployments in 200 groups, every strategy once, and the same group where those ten are all
that there is. The bare forward is that of `bench/ledger.py`: the whole path to the sandbox, without limits, and
a ledger that grants everything and writes nothing. All take turns in one process.

Each deployment has been seen, and has counted a failure: a plan looks at the state of its ten, and nothing else should
matter. Exits with 1 when the plan of a group that names no strategy (`weighted`) costs more than 0.15 of the bare
forward, or any plan more than 1.2 of the same one where there are ten deployments.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from _forward import BODY, Free, Work, configure, measured, model, sandbox

from scribe_router import Router
from scribe_router.exchange import AttemptFailed, Call, Category, Reached
from scribe_router.policies.routing import WEIGHTED
from scribe_router.policies.strategies import BUILT_IN

GROUP, MODELS, GROUPS = 10, 1_000, 200
MOST_OF_A_FORWARD, MOST_OF_THE_SMALL = 0.15, 1.2
BARE, SMALL, LARGE = "bare forward", "10 deployments", "1,000 deployments"


def configured(folder: Path, base: str, models: int, groups: int) -> Router:
    """A router with so many models, and groups of ten of them under the name of each strategy, and others."""
    names = [*BUILT_IN, *(f"group-{number}" for number in range(groups - len(BUILT_IN)))]
    rows = [
        {
            "group_name": name,
            "routing_strategy": "simple-shuffle",
            "models": [f"m-{(place * GROUP + each) % models}" for each in range(GROUP)],
        }
        for place, name in enumerate(names)
    ]
    config = {
        "model_list": [model(f"m-{number}", base) for number in range(models)],
        "router_settings": {"routing_groups": rows},
    }
    policies = {"routing": {"strategies": {name: name for name in BUILT_IN}}, "breaker": {}}
    return Router.from_yaml(configure(folder, config, policies))


def seen(router: Router) -> Router:
    """The router after each of its deployments has answered once, and failed once."""
    failure = AttemptFailed(Category.SERVER, Reached.REPLIED, "fault")
    for name in router.registry.deployments:
        for ended in (None, failure):
            router.state.end(router.state.begin(name, 0.0), ended, 0.5)
    return router


@asynccontextmanager
async def works(folder: Path, base: str) -> AsyncIterator[dict[str, Work]]:
    """What is measured, by name."""
    alone = Router.from_yaml(configure(folder / "alone", {"model_list": [model("m", base)]}, {}))
    bare = Router(alone.registry, ledger=Free(folder / "free.sqlite3"))
    small = seen(configured(folder / "small", base, GROUP, len(BUILT_IN)))
    large = seen(configured(folder / "large", base, MODELS, GROUPS))
    found: dict[str, Work] = {BARE: partial(bare.serve, Call("chat", BODY))}
    for size, router in ((SMALL, small), (LARGE, large)):
        for name in BUILT_IN:
            call = Call("chat", {**BODY, "model": name})
            assert len(router.plan(call).candidates) == GROUP
            found[f"{size}, {name}"] = partial(planned, router, call)
    try:
        yield found
    finally:
        for each in (alone, bare, small, large):
            await each.aclose()


async def planned(router: Router, call: Call) -> None:
    router.plan(call)


async def costs(rounds: int, calls: int) -> dict[str, float]:
    with sandbox() as base, tempfile.TemporaryDirectory() as folder:
        async with works(Path(folder), base) as each:
            found = await measured(each, rounds, calls)
    return {name: min(costs) for name, costs in found.items()}  # what else the machine does can only add to it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds, calls = (15, 60) if parser.parse_args().quick else (60, 100)
    cost = asyncio.run(costs(rounds, calls))
    print(f"processor time, the least of {rounds} rounds of {calls} calls; bare forward {cost[BARE]:.0f} us\n")
    print(f"{'plan of a group of ten':<24}{SMALL:>16}{LARGE:>20}{'of the small':>14}{'of a forward':>14}")
    missed = 0
    for name in BUILT_IN:
        small, large = (cost[f"{size}, {name}"] for size in (SMALL, LARGE))
        of_small, of_bare = large / small, large / cost[BARE]
        missed += of_small > MOST_OF_THE_SMALL or (name == WEIGHTED and of_bare > MOST_OF_A_FORWARD)
        print(f"{name:<24}{small:>13.0f} us{large:>17.0f} us{of_small:>14.2f}{of_bare:>14.3f}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

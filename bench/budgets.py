"""Six ways to overspend, tried on LiteLLM's Router budgets and on scribe_router: `python bench/budgets.py [--write]`.

Each router has each case in a process of its own, in front of the sandbox over a real socket. What was spent is the
sandbox's bill, which neither of them sees. Exits with 1 unless scribe_router holds every cap and its ledger agrees with
the bill. `--write` writes docs/budgets-compared.md; `--check` fails when that page says something else.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this tree is measured, wherever else the package is installed
PAGE = ROOT / "docs" / "budgets-compared.md"
NANO, MILLION = 10**9, 10**6
# After each call: LiteLLM counts in the background, and is given the time for it.
PAUSE = 0.3


@dataclass(frozen=True)
class Model:
    """A sandbox model and what it costs, in USD per million tokens. `listed`: the routers are told."""

    name: str
    input: str
    output: str
    listed: bool = True


@dataclass(frozen=True)
class Case:
    """`calls` of one body to the first model; the others are its fallbacks. `cap` is in USD a day."""

    title: str
    cap: str
    models: tuple[Model, ...]
    calls: int
    body: dict[str, Any]
    together: bool = False
    hang_up: bool = False


def asking(words: int = 5, **parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "a " * words}], **parameters}


CASES = {
    "prompts": Case(
        "five concurrent prompts of 300,000 tokens", "0.45", (Model("long-10", "0.5", "1"),), 5,
        asking(300_000, max_tokens=100), together=True,
    ),
    "one": Case(
        "one request over the cap", "2.50", (Model("max-bill", "10", "50"),), 1, asking(max_tokens=61_000),
    ),
    "price": Case(
        "a model whose price nobody listed", "0.01", (Model("max-bill", "1", "10", listed=False),), 10,
        asking(max_tokens=1_000),
    ),
    "no-cap": Case("no `max_tokens`", "0.10", (Model("max-bill", "1", "10"),), 10, asking()),
    "fallback": Case(
        "fallback to a dearer model", "0.01", (Model("error-500", "0.1", "0.4"), Model("max-bill", "1", "30")), 1,
        asking(max_tokens=1_000),
    ),
    "hang-up": Case(
        "the client hangs up on a stream", "0.10", (Model("max-bill+long-50+pace-10ms", "1", "10"),), 10,
        asking(max_tokens=4_000, stream=True, stream_options={"include_usage": True}), hang_up=True,
    ),
}  # fmt: skip
ROUTERS = ("litellm", "scribe_router")

Ask = Callable[[], Awaitable[Any]]


# -- in the child: one router, one case


def deployments(case: Case, base: str, budget: dict[str, Any]) -> list[dict[str, Any]]:
    """The models as both routers take them."""
    return [
        {
            "model_name": f"m{number}",
            "litellm_params": {"model": f"openai/{model.name}", "api_base": f"{base}/v1", "api_key": "k", **budget},
            "model_info": {"id": f"m{number}", **(rates(model) if model.listed else {})},
        }
        for number, model in enumerate(case.models)
    ]


def rates(model: Model) -> dict[str, float]:
    each = {"input_cost_per_token": model.input, "output_cost_per_token": model.output}
    return {name: float(Decimal(usd) / MILLION) for name, usd in each.items()}


def fallbacks(case: Case) -> list[dict[str, list[str]]]:
    return [{"m0": [f"m{number}" for number in range(1, len(case.models))]}] if len(case.models) > 1 else []


async def with_litellm(case: Case, base: str) -> dict[str, Any]:
    """Every budget that its Router has: of the provider, of each deployment, and the global one."""
    import litellm

    cap = float(case.cap)
    litellm.suppress_debug_info = True
    litellm.max_budget = cap
    router = litellm.Router(
        model_list=deployments(case, base, {"max_budget": cap, "budget_duration": "1d"}),
        provider_budget_config={"openai": {"budget_limit": cap, "time_period": "1d"}},
        fallbacks=fallbacks(case),
        num_retries=0,
    )
    return await tried(case, lambda: router.acompletion(model="m0", **case.body))


async def with_scribe_router(case: Case, base: str) -> dict[str, Any]:
    """One limit, and the shipped defaults for the rest."""
    from scribe_router import Router
    from scribe_router.errors import ConfigError
    from scribe_router.stores import open_ledger

    limit = {"id": "day", "scope": "all", "window": "day", "usd": float(case.cap), "when_short": "reject"}
    chains = {"router_settings": {"fallbacks": fallbacks(case)}} if fallbacks(case) else {}
    write("litellm_config", {"model_list": deployments(case, base, {}), **chains})
    write("policies/budgets", {"limits": [limit]})
    write("policies/store", {"ledger": "sqlite:ledger.sqlite3"})
    try:
        router = Router.from_yaml()
    except ConfigError as error:
        return {"served": 0, "why": str(error), "ledger": 0}
    async with router:
        found = await tried(case, lambda: router.acompletion(model="m0", **case.body))
    ledger = open_ledger("sqlite:ledger.sqlite3")
    counters = await ledger.counters()
    ledger.close()
    return {**found, "ledger": sum(each.settled + each.reserved for each in counters.values())}


def write(name: str, content: dict[str, Any]) -> None:
    """A YAML file in the case's own folder."""
    path = Path(f"{name}.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


async def tried(case: Case, ask: Ask) -> dict[str, Any]:
    """How many calls were served, and why the first that was not."""
    if case.together:
        outcomes = await asyncio.gather(*(outcome(case, ask) for _ in range(case.calls)))
    else:
        outcomes = [await outcome(case, ask) for _ in range(case.calls)]
    refused = [each for each in outcomes if each is not None]
    return {"served": case.calls - len(refused), "why": refused[0] if refused else ""}


async def outcome(case: Case, ask: Ask) -> str | None:
    """None for an answer, else the error."""
    try:
        answer = await ask()
        if case.hang_up:
            await anext(aiter(answer))
            await answer.aclose()
    except Exception as error:  # noqa: BLE001  (whatever a router raises is its answer)
        return str(error)
    await asyncio.sleep(PAUSE)
    return None


# -- in the parent: the sandbox, the bill, the table


@dataclass(frozen=True)
class Result:
    """What a router did with a case; `spent` is the bill in nano-dollars, `ledger` what the router thinks it was."""

    served: int
    spent: int
    why: str
    ledger: int | None


def run(case: str, router: str) -> Result:
    """One router in one case, in a process and a folder of its own."""
    from scribe_router.sandbox import running_sandbox

    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    with tempfile.TemporaryDirectory() as folder, running_sandbox() as sandbox:
        command = [sys.executable, "-W", "ignore", __file__, "--case", case, "--router", router, "--base", sandbox.url]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit(f"{router} in case {case}:\n{done.stderr}")
        found = json.loads(done.stdout.splitlines()[-1])
        return Result(found["served"], bill(CASES[case], sandbox.received), found["why"], found.get("ledger"))


def bill(case: Case, received: list[Any]) -> int:
    prices = {model.name: model for model in case.models}
    return sum(int(of(prices[each.model], each.billed) * NANO) for each in received if each.billed)


def of(model: Model, usage: Any) -> Decimal:
    return (usage.input * Decimal(model.input) + usage.output * Decimal(model.output)) / MILLION


def table(results: dict[tuple[str, str], Result]) -> str:
    head = "| case | cap | LiteLLM: served | spent | scribe_router: served | spent | why it refused |"
    lines = [head, "|" + "---|" * 7]
    for name, case in CASES.items():
        theirs, ours = (results[name, router] for router in ROUTERS)
        cap = Decimal(case.cap) * NANO
        spent = [f"{usd(each.spent)}{' **over**' if each.spent > cap else ''}" for each in (theirs, ours)]
        why = ours.why.splitlines()[-1] if ours.why else ""
        for noise in (r"^\S+:\d+:\d+: ", r", \d{4}-\d\d-\d\d(?=\))", r"; it renews at .*"):
            why = re.sub(noise, "", why)
        lines.append(
            f"| {case.title} | {case.cap} | {theirs.served} of {case.calls} | {spent[0]} "
            f"| {ours.served} of {case.calls} | {spent[1]} | {why} |"
        )
    return "\n".join(lines)


def usd(nano: int) -> str:
    return f"{Decimal(nano) / NANO:.4f}"


TEXT = """# Budgets, side by side

Written by `python bench/budgets.py --write`; a test runs it again. litellm {litellm}, scribe_router {ours}, Python
{python}. Both are used as libraries, each case in a fresh process, against the sandbox over a real socket. *Spent* is
what the sandbox billed, in USD.

{table}

**LiteLLM's Router** has all the budgets that it knows, at the cap of the case:
`provider_budget_config={{"openai": {{"budget_limit": CAP, "time_period": "1d"}}}}`, `max_budget: CAP` with
`budget_duration: 1d` on each deployment, and `litellm.max_budget = CAP`. Prices stand in `model_info`, `num_retries=0`,
no Redis (it is one process). After each call it gets {pause} s to count, which it does in the background. It lets a
call through while what was counted so far is below the budget: a call in flight, or one whose cost it does not learn,
is not held back. Its proxy has other budgets, on virtual keys, with a reservation; they need a database and are not
compared here.

**scribe_router** has one limit, `{{scope: all, window: day, usd: CAP, when_short: reject}}`, a ledger in SQLite, and
its defaults for the rest. It reserves what a call can cost before it leaves, so it refuses what would have fitted in
hindsight: of the five prompts three would have. Its bound takes a token for each byte of the request. The words of
these prompts have one letter; of plain English, with some four bytes for each token, all five would be refused. With
`when_short: clamp`, which is the default, a call is made smaller where that helps.
"""


def page(results: dict[tuple[str, str], Result]) -> str:
    versions = {"litellm": version("litellm"), "ours": version("scribe-router"), "python": platform.python_version()}
    return TEXT.format(table=table(results), pause=PAUSE, **versions)


def figures_aside(text: str) -> str:
    """The page without what another run, or another Python, may say differently."""
    return re.sub(r"Python [\d.]+|[\d.]+ usd|(\d+) of (?=\d)|\d+\.\d{4}", "#", text)


def problems(case: Case, ours: Result) -> list[str]:
    """What scribe_router did wrong."""
    over = [f"{case.title}: {usd(ours.spent)} of {case.cap} usd spent"] if ours.spent > Decimal(case.cap) * NANO else []
    wrong = [f"{case.title}: the ledger says {ours.ledger}, the bill {ours.spent}"] if ours.spent != ours.ledger else []
    return over + wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    for name in ("--case", "--router", "--base"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        child = with_litellm if given.router == "litellm" else with_scribe_router
        print("\n" + json.dumps(asyncio.run(child(CASES[given.case], given.base))))
        return 0
    results = {(case, router): run(case, router) for case in CASES for router in ROUTERS}
    text = page(results)
    print(table(results))
    broken = [problem for name, case in CASES.items() for problem in problems(case, results[name, "scribe_router"])]
    if given.write and not broken:
        PAGE.write_text(text)
    elif given.check and figures_aside(text) != figures_aside(PAGE.read_text()):
        broken.append(f"{PAGE.name} says something else; write it anew")
    for each in broken:
        print(f"failed: {each}", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())

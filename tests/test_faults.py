"""What a provider may do wrong: tests/cases/faults.yaml, over real sockets. A new line needs no code."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from scribe_router.errors import RequestError
from scribe_router.exchange import Call
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
TABLE = yaml.safe_load((Path(__file__).parent / "cases" / "faults.yaml").read_text(encoding="utf-8"))
PRICE = "input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
TEXT = "hello big wide world"
RETRIES = {"deadline_seconds": 60, "server": {"retries": 1, "initial_seconds": 0.01}}
EXPECTED = ("category", "mark", "breaker", "alone", "fallback")
LANES, KINDS = ("wire", "litellm"), ("call", "stream")
KEYS = {
    "fault",
    "only",
    "clocks",
    "seconds",
    *EXPECTED,
    *LANES,
    *KINDS,
    *(f"{lane} {kind}" for lane in LANES for kind in KINDS),
}


def cases() -> Iterator[Any]:
    for row in TABLE["faults"]:
        for lane in LANES:
            for kind in [row["only"]] if "only" in row else KINDS:
                yield pytest.param(row, lane, kind, id=f"{row['fault']}-{lane}-{kind}")


def expected(row: dict[str, Any], lane: str, kind: str) -> dict[str, str]:
    """The row with what it says of this lane and kind alone laid over it."""
    found = dict(row)
    for name in (kind, lane, f"{lane} {kind}"):
        found |= row.get(name, {})
    return {name: found[name] for name in EXPECTED}


def config(url: str, base: str, fault: str, lane: str) -> str:
    # Under names of their own, since the sandbox counts the calls of each.
    faulty = [(name, f"{name}-{uuid4().hex}/{fault}", base, lane) for name in ("alone", "first")]
    rows = [*faulty, ("next", "echo", url, "wire")]
    entries = "".join(
        f"""
  - model_name: {name}
    litellm_params: {{model: openai/{model}, api_base: "{host}/v1", api_key: sandbox-key}}
    model_info: {{id: {name}, lane: {way}, {PRICE}}}"""
        for name, model, host, way in rows
    )
    return f"model_list:{entries}\nrouter_settings: {{fallbacks: [{{first: [next]}}]}}"


async def ask(router: Router, model: str, kind: str) -> str:
    """What the client gets: `served`, or the error's status and code."""
    body = {"model": model, "messages": [{"role": "user", "content": TEXT}], "stream": kind == "stream"}
    try:
        answer = await router.serve(Call("chat", body))
        if isinstance(answer, AnswerStream):
            async for _ in answer:
                pass
    except RequestError as error:
        return f"{error.status} {error.code}"
    return "served"


def effect(router: Router, name: str) -> str:
    [found] = [each for each in router.health() if each["deployment"] == name]
    assert found["in_flight"] == 0
    effects = {"counts": found["failures_in_a_row"], "rests": found["free_in_seconds"]}
    return " and ".join(name for name, value in effects.items() if value) or "nothing"


@pytest.mark.parametrize(("row", "lane", "kind"), list(cases()))
async def test_fault(sandbox: Sandbox, router: RouterFrom, row: dict[str, Any], lane: str, kind: str) -> None:
    assert set(row) <= KEYS, "a misspelt expectation would pass"
    base = closed_port() if row["fault"] == "closed-port" else sandbox.url
    retries = {**RETRIES, **(TABLE["clocks"] if row.get("clocks") else {})}
    policies = {"retries": yaml.safe_dump(retries), "breaker": "failures: 5"}
    one = router(config(sandbox.url, base, row["fault"], lane), policies)
    await one.warm_up()
    async with asyncio.timeout(row.get("seconds", TABLE["seconds"])):
        alone, fallback = await asyncio.gather(ask(one, "alone", kind), ask(one, "first", kind))
    rows = sorted(await one.ledger.rows(), key=lambda each: each["opened"])
    assert {each["state"] for each in rows} == {"settled"}
    mine = next(each for each in rows if each["deployment"] == "alone")
    found = {
        "category": mine["outcome"],
        "mark": mine["mark"],
        "breaker": effect(one, "alone"),
        "alone": alone,
        "fallback": fallback,
    }
    assert found == expected(row, lane, kind)


def closed_port() -> str:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{once.getsockname()[1]}"

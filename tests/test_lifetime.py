"""What a router leaves behind: nothing. No exchange outlives its answer, no router outlives its owner."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scribe_router import RequestError, Router
from scribe_router.exchange import Exchange
from scribe_router.registry import Registry
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - model_name: wire
    litellm_params: {model: openai/echo, api_base: os.environ/BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: litellm
    litellm_params: {model: openai/echo, api_base: os.environ/BASE, api_key: k}
    model_info: {id: litellm, lane: litellm, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: broken
    litellm_params: {model: openai/error-500, api_base: os.environ/BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: cut
    litellm_params: {model: openai/cut-after-2, api_base: os.environ/BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
"""
MESSAGES = [{"role": "user", "content": "one two three four"}]


@pytest.fixture
def fake() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def registry(tmp_path: Path, fake: Sandbox) -> Registry:
    return registry_from(tmp_path, CONFIG, environment={"BASE": fake.url + "/v1"})


def alive() -> int:
    gc.collect()
    return sum(isinstance(thing, Exchange) for thing in gc.get_objects())


async def one(router: Router, number: int) -> None:
    """One of six kinds of call, by turns: plain and streamed, answered, failed, broken and left half-way."""
    model = ("wire", "litellm", "wire", "broken", "cut", "wire")[number % 6]
    stream = number % 6 in (2, 4, 5)
    try:
        answer = await router.acompletion(model=model, messages=MESSAGES, stream=stream)
        if stream:
            async for _ in answer:
                if number % 6 == 5:
                    break
            await answer.aclose()
    except RequestError:
        if model not in ("broken", "cut"):
            raise


@pytest.mark.timeout(180)
@pytest.mark.parametrize("calls", [120, pytest.param(500, marks=pytest.mark.slow)])
async def test_no_exchange_stays_alive(registry: Registry, calls: int) -> None:
    async with Router(registry) as router:
        await one(router, 1)
        before = alive()
        gate = asyncio.Semaphore(100)

        async def gated(number: int) -> None:
            async with gate:
                await one(router, number)

        await asyncio.gather(*(gated(number) for number in range(calls)))
        await asyncio.sleep(0.3)
        assert alive() <= before
        assert len(router._tasks) == 0
        rows = await router.ledger.rows(limit=1000)
        assert {row["state"] for row in rows} == {"settled"}
        assert await router.ledger.check() == []


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
async def test_routers_come_and_go(registry: Registry, count: int, *, closed: bool) -> None:
    import litellm

    async def build_and_use(lane: str) -> None:
        router = Router(registry)
        await router.acompletion(model=lane, messages=MESSAGES)
        if closed:
            await router.aclose()

    def standing() -> dict[str, int]:
        gc.collect()
        return {
            "tasks": len(asyncio.all_tasks()),
            "threads": sum(
                not each.name.startswith("asyncio_") for each in threading.enumerate()
            ),  # its executor grows
            "files and connections": open_files(),
            "callbacks": sum(len(each) for each in (litellm.callbacks, litellm._async_success_callback)),
            "known to litellm": len(litellm.model_cost),
            "routers": sum(isinstance(thing, Router) for thing in gc.get_objects()),
        }

    await build_and_use("litellm")
    await build_and_use("wire")
    await asyncio.sleep(0.2)
    before = standing()
    for number in range(count):
        await build_and_use("litellm" if number % 4 == 0 else "wire")
    await asyncio.sleep(0.5)
    gc.collect()
    await build_and_use("litellm")  # what a dropped router brought leaves with the next use of LiteLLM
    await asyncio.sleep(0.5)
    after = standing()
    assert {name: after[name] for name in before if after[name] > before[name] + 2} == {}


async def test_two_routers_do_not_disturb_each_other(tmp_path: Path, fake: Sandbox) -> None:
    registries = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        text = CONFIG.replace("api_key: k", f"api_key: key-of-{name}")
        registries.append(registry_from(tmp_path / name, text, environment={"BASE": fake.url + "/v1"}))
    async with Router(registries[0]) as first:
        second = Router(registries[1])
        for router in (first, second) * 3:
            await router.acompletion(model="litellm", messages=MESSAGES)
        await second.aclose()
        await first.acompletion(model="litellm", messages=MESSAGES)
        assert len(await first.ledger.rows()) == 4
    keys = [each.headers["authorization"] for each in fake.received]
    assert keys == ["Bearer key-of-first", "Bearer key-of-second"] * 3 + ["Bearer key-of-first"]

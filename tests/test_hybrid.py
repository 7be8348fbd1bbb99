"""Your own machines first, an API where they fail or are full: the page's own YAML, over real sockets."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from scribe_router.exchange import Call, Exchange
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.litellm_clients import close_litellm_clients
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGE = (Path(__file__).parent.parent / "docs" / "staying-up.md").read_text(encoding="utf-8")
CONFIG, LIMITS = re.findall(r"^```yaml\n(.*?)^```", PAGE.partition("## Your own machines first")[2], re.M | re.S)
PATIENCE = 60.0
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """One without keys, as machines of one's own are."""
    async with Sandbox(require_key=False) as running:
        yield running
        await close_litellm_clients()


@pytest.fixture
def hybrid(sandbox: Sandbox, router: RouterFrom) -> Callable[..., Router]:
    """`hybrid(vllm, ollama, api)` is the page's router, at the sandbox; they are what each of its models does."""

    def build(vllm: str = "echo", ollama: str = "echo", api: str = "echo") -> Router:
        text = CONFIG.replace("http://gpu-1:8000", sandbox.url).replace("http://gpu-2:11434", f"{sandbox.url}/ollama")
        for ours, does in (
            ("Qwen/Qwen3-32B", f"vllm/{vllm}"),
            ("qwen3:14b", f"ollama/{ollama}"),
            ("gpt-6.1-luna", f"api/{api}"),
        ):
            assert text.count(ours) == 1
            text = text.replace(ours, does)
        assert "api_key: os.environ/OPENAI_API_KEY" in text
        at_the_sandbox = f'api_key: os.environ/OPENAI_API_KEY, api_base: "{sandbox.url}/v1"'
        text = text.replace("api_key: os.environ/OPENAI_API_KEY", at_the_sandbox)
        policies = {"limits": LIMITS, "breaker": "{failures: 2, open_seconds: 1, successes: 1}"}
        return router(text, policies, {"OPENAI_API_KEY": "k"})

    return build


async def ask(one: Router, *, stream: bool = False) -> Exchange:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello big world"}], "stream": stream}
    answer = await one.serve(Call("chat", body))
    if isinstance(answer, AnswerStream):
        async for _ in answer:
            pass
    return answer.exchange


def served_by(exchange: Exchange) -> str:
    return exchange.attempts[-1].deployment


@both
async def test_while_there_is_room_the_api_gets_nothing(hybrid: Callable[..., Router], *, stream: bool) -> None:
    one = hybrid()
    assert {served_by(await ask(one, stream=stream)) for _ in range(5)} == {"vllm"}


@both
@pytest.mark.timeout(180)
async def test_what_is_full_overflows(hybrid: Callable[..., Router], sandbox: Sandbox, *, stream: bool) -> None:
    one = hybrid(vllm="slow-6s", ollama="slow-6s")
    await one.warm_up()
    full = {"vllm": 8, "ollama": 2}
    before = [asyncio.create_task(ask(one, stream=stream)) for _ in range(sum(full.values()))]
    await until(lambda: len(sandbox.received) == len(before))
    over = await asyncio.gather(*(ask(one, stream=stream) for _ in range(3)))
    assert {served_by(each) for each in over} == {"api"}
    assert all(len(each.attempts) == 1 for each in over), "what is full is not an attempt"
    assert Counter(served_by(each) for each in await asyncio.gather(*before)) == full
    assert served_by(await ask(one, stream=stream)) == "vllm", "there is room again"


@both
async def test_what_fails_is_replaced_and_then_left_alone(
    hybrid: Callable[..., Router], sandbox: Sandbox, *, stream: bool
) -> None:
    one = hybrid(vllm="error-503", ollama="error-503")
    exchanges = [await ask(one, stream=stream) for _ in range(5)]
    assert [[each.deployment for each in exchange.attempts] for exchange in exchanges] == [
        *[["vllm", "ollama", "api"]] * 2,
        *[["api"]] * 3,
    ]
    assert "a probe may go in" in one.explain(model="chat", messages=[])


async def test_what_is_back_serves_again(hybrid: Callable[..., Router]) -> None:
    one = hybrid(vllm="flaky-2", ollama="error-503")
    assert [served_by(await ask(one)) for _ in range(2)] == ["api", "api"]
    await until(lambda: one.health()[0]["circuit"] == "half_open")
    assert served_by(await ask(one)) == "vllm"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  (what is waited for is told by nobody)
            await asyncio.sleep(0.01)

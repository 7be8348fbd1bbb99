"""The cache beside what else decides on a request: circuits, features, the default model."""

import pytest

from scribe_router.errors import CircuitOpen, UpstreamError
from scribe_router.exchange import Call, Json
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.stream import Answer
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
ROW = """
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: "{url}/v1", api_key: k}}
    model_info: {{id: {name}, input_cost_per_token: 0, output_cost_per_token: 0}}"""
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def built(router: RouterFrom, url: str, *names: str, **policies: str) -> Router:
    text = "model_list:" + "".join(ROW.format(name=name, url=url) for name in names)
    return router(text, {"cache": "enabled: true", **policies})


async def ask(one: Router, words: str, **more: object) -> tuple[str | None, list[Json], list[str]]:
    """Where the answer came from, what a client sees, and the warnings."""
    answer = await one.serve(Call("chat", {"messages": [{"role": "user", "content": words}], **more}))
    said = [answer.body] if isinstance(answer, Answer) else [chunk async for chunk in answer]
    return answer.exchange.cache, said, answer.exchange.warnings


@both
async def test_what_is_kept_is_served_while_every_circuit_is_open(router: RouterFrom, *, stream: bool) -> None:
    with running_sandbox() as host:
        one = built(router, host.url, "echo", breaker="{failures: 1, all_open: fail}")
        before = await ask(one, "known", model="echo", stream=stream)
    with pytest.raises(UpstreamError):
        await ask(one, "what opens it", model="echo", stream=stream)
    with pytest.raises(CircuitOpen):
        await ask(one, "unknown", model="echo", stream=stream)
    assert await ask(one, "known", model="echo", stream=stream) == ("hit", *before[1:])
    assert [each["circuit"] for each in one.health()] == ["open"]


@pytest.mark.parametrize("default", ["echo", "short"])
@both
async def test_a_hit_of_the_default_model_has_its_name(
    router: RouterFrom, sandbox: Sandbox, default: str, *, stream: bool
) -> None:
    routing = f"default_model: {default}"
    text = "model_list:" + ROW.format(name="echo", url=sandbox.url)
    aliases = "\nrouter_settings: {model_group_alias: {short: echo}}\n"
    one = router(text + aliases, {"cache": "enabled: true", "routing": routing})
    first, again = [await ask(one, "hi", stream=stream) for _ in range(2)]
    assert (first[0], again[0]) == ("miss", "hit")
    assert again[1] == first[1]
    assert {each["model"] for each in first[1]} == {default}


async def test_a_request_is_known_as_features_left_it(router: RouterFrom, sandbox: Sandbox) -> None:
    one = built(router, sandbox.url, "echo", features="tools: {enabled: false, when_off: strip}")
    seen = [await ask(one, "hi", model="echo", **more) for more in ({}, {"tools": [TOOL]})]
    assert [cache for cache, *_ in seen] == ["miss", "hit"]
    assert [len(warnings) for *_, warnings in seen] == [0, 1]

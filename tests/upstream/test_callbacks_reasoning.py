"""Our callbacks in a plain `litellm.Router` say how much a model is to reason, as our own lanes do."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

# LiteLLM reads these when it is imported; without them it fetches tables from the network and loads a .env file.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True"
)

import litellm
import pytest
import pytest_asyncio
import yaml
from litellm.router import Router as LiteLLMRouter

from scribe_router.callbacks import scribe
from scribe_router.config.load import load_config
from scribe_router.config.resolved import resolved
from scribe_router.exchange import Json
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.support.litellm_clients import close_litellm_clients
from tests.upstream.test_reasoning_bytes import BASES, control

CASES: list[Json] = yaml.safe_load((Path(__file__).parent.parent / "cases" / "reasoning.yaml").read_text())
BY_MODEL: dict[str, list[Json]] = {}
for each in CASES:
    BY_MODEL.setdefault(each["model"], []).append(each)
MESSAGES = [{"role": "user", "content": "hi"}]
FREE = {"input_cost_per_token": 0, "output_cost_per_token": 0, "cache_creation_input_token_cost": 0}
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # LiteLLM's own: types with read-only fields, and a field of pydantic's read from an instance.
    pytest.mark.filterwarnings("ignore:Item.* on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:pydantic.warnings.PydanticDeprecatedSince211"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def closing() -> AsyncIterator[None]:
    yield
    await close_litellm_clients()


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


class Place:
    """A folder with a configuration, and LiteLLM's Router of what `check --resolved` prints of it."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox
        (folder / "policies").mkdir()

    def router(self, model: str, effort: str = "strict: false", **info: Any) -> Any:
        base = self.sandbox.url + BASES.get(model.partition("/")[0], "/v1").replace("/v1beta", "")
        params = {"model": model, "api_base": base, "api_key": "any"}
        entry = {"model_name": "m", "litellm_params": params, "model_info": {"id": "m", **FREE, **info}}
        config = self.folder / "litellm_config.yaml"
        config.write_text(yaml.safe_dump({"model_list": [entry]}))
        (self.folder / "policies" / "effort.yaml").write_text(effort)
        loaded = load_config(config, None, os.environ)
        entries = yaml.safe_load(resolved(loaded.source, loaded.or_raise()))["model_list"]
        return LiteLLMRouter(model_list=entries, num_retries=0)

    async def sent(self, router: Any, **ask: Any) -> Json:
        """The body that arrived."""
        self.sandbox.clear()
        answer = await router.acompletion(model="m", **{"messages": MESSAGES, "max_tokens": 40_000, **ask})
        assert [chunk async for chunk in answer] if ask.get("stream") else answer.choices
        arrived: Json = self.sandbox.received[-1].json
        return arrived


@pytest.fixture
def place(tmp_path: Path, running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("SCRIBE_CONFIG", str(tmp_path / "litellm_config.yaml"))
    monkeypatch.setattr(litellm, "callbacks", [scribe])
    scribe.close()
    yield Place(tmp_path, running)
    scribe.close()
    litellm.logging_callback_manager.remove_callback_from_all_lists(scribe)


# A Router of LiteLLM's is half a second of work for each.
FIRST = {model.partition("/")[0]: model for model in reversed(BY_MODEL)}.values()
OTHERS = [pytest.param(model, marks=pytest.mark.slow) for model in BY_MODEL if model not in FIRST]


@pytest.mark.parametrize("model", [*FIRST, *OTHERS])
async def test_the_table_of_our_own_lanes_holds(place: Place, model: str) -> None:
    router = place.router(model)
    for case in BY_MODEL[model]:
        assert control(await place.sent(router, **case["ask"])) == case["sends"], case["ask"]


@pytest.mark.parametrize("model", ["openai/gpt-6-luna", "anthropic/claude-opus-4-8", "moonshot/kimi-k2.6"])
async def test_streams_and_bodies_are_told_the_same(place: Place, model: str) -> None:
    router = place.router(model)
    for case in BY_MODEL[model]:
        assert control(await place.sent(router, stream=True, **case["ask"])) == case["sends"], case["ask"]
        assert control(await place.sent(router, extra_body=case["ask"])) == case["sends"], case["ask"]


async def test_defaults_and_rules_hold_too(place: Place) -> None:
    effort = "defaults: {openai: auto}\nauto: [{longer_than: 100, effort: high}, {effort: low}]"
    router = place.router("openai/gpt-6-luna", effort)
    assert (await place.sent(router))["reasoning_effort"] == "low"
    long = [{"role": "user", "content": "x" * 101}]
    assert (await place.sent(router, messages=long))["reasoning_effort"] == "high"
    assert (await place.sent(router, reasoning_effort="max"))["reasoning_effort"] == "max"


async def test_what_a_model_refuses_is_left_out(place: Place) -> None:
    router = place.router("anthropic/claude-haiku-4-5")
    assert (await place.sent(router, temperature=0.2))["temperature"] == 0.2
    assert "temperature" not in await place.sent(router, temperature=0.2, reasoning_effort="low")


async def test_the_other_switches_come_along(place: Place) -> None:
    router = place.router("anthropic/claude-opus-4-8", enable_search=True, prompt_caching="5m")
    arrived = await place.sent(router, messages=[{"role": "system", "content": "word " * 1_000}, *MESSAGES])
    assert arrived["tools"][0]["name"] == "web_search"
    assert arrived["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert "tools" not in await place.sent(router, enable_search=False)


async def test_what_another_vendor_thought_stays_there(place: Place) -> None:
    said = {"role": "assistant", "content": "a", "reasoning_content": "hm", "thinking_blocks": [{"type": "thinking"}]}
    arrived = await place.sent(place.router("openai/gpt-4.1"), messages=[*MESSAGES, said, *MESSAGES])
    assert arrived["messages"][1] == {"role": "assistant", "content": "a"}

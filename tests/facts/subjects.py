"""The two that are asked alike: plain LiteLLM, and our router. Both before a sandbox on a real socket.

The sandbox runs in a thread: LiteLLM asks Ollama's `/api/show` with a blocking call.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol

import yaml

from scribe_router.errors import RequestError
from scribe_router.exchange import Call, Json
from scribe_router.money import usd
from scribe_router.receipt import Receipt
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.stream import AnswerStream
from scribe_router.upstream.quiet import litellm
from tests.support.yaml_text import RouterFrom

BASES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "ollama_chat": "/ollama"}
PATIENCE = 20.0


@dataclass(frozen=True)
class Ask:
    """One request. `params` are more of the deployment's litellm_params; `usage` and `extra` are of the reply."""

    model: str
    body: Json
    params: Json = field(default_factory=dict)
    usage: Json | None = None
    extra: Json | None = None


@dataclass(frozen=True)
class Seen:
    """What one request led to: paths and bodies that arrived, the cost in USD (None: unknown), the error's class.

    `effort` and `warnings` are what the answer tells of changes to the request; `computed` is what LiteLLM computes
    of the answer afterwards.
    """

    paths: list[str]
    bodies: list[Json]
    cost: str | None = None
    error: str | None = None
    effort: str | None = None
    warnings: tuple[str, ...] = ()
    computed: str | None = None

    @property
    def body(self) -> Json:
        """The one body that arrived."""
        assert self.error is None
        [one] = self.bodies
        return one

    def sent(self, *names: str) -> Any:
        """Those fields that arrived, or the error."""
        return self.error or {name: self.body[name] for name in names if name in self.body}


class Subject(Protocol):
    """Who is asked."""

    async def ask(self, ask: Ask, base: str) -> Seen: ...


async def seen(subject: Subject, ask: Ask) -> Seen:
    """Ask before a sandbox of its own."""
    rules = [{"match": ".", "answer": "said", "usage": ask.usage, "extra": ask.extra or {}}]
    with running_sandbox(Sandbox(rules if ask.usage else None)) as sandbox:
        told = await subject.ask(ask, sandbox.url + BASES.get(ask.model.partition("/")[0], "/v1"))
        calls = [each for each in sandbox.received if not each.path.endswith("/api/show")]
    return Seen(
        [each.path for each in calls],
        [each.json for each in calls],
        told.cost,
        told.error,
        told.effort,
        told.warnings,
        told.computed,
    )


class PlainLiteLLM:
    """`litellm.acompletion`, as anyone may call it."""

    async def ask(self, ask: Ask, base: str) -> Seen:
        with bundled_prices():
            return await self._ask(ask, base)

    async def _ask(self, ask: Ask, base: str) -> Seen:
        module = litellm()
        where = {"model": ask.model, "api_base": base, "api_key": "sandbox-key", "num_retries": 0, "max_retries": 0}
        try:
            if ask.body.get("stream"):
                return Seen([], [], await _streamed({**where, **ask.params, **ask.body}))
            response = await module.acompletion(**{**where, **ask.params, **ask.body})
        except Exception as error:  # noqa: BLE001  (which one it is, is what the test looks at)
            return Seen([], [], error=type(error).__name__)
        return Seen([], [], _usd(response._hidden_params["response_cost"]), computed=_computed(response))


@contextmanager
def bundled_prices() -> Iterator[Mapping[str, Json]]:
    """LiteLLM's price map as it comes: every `litellm.Router` of a process leaves its deployments' prices there."""
    from litellm.utils import _invalidate_model_cost_lowercase_map as changed

    module = litellm()
    kept, module.model_cost = module.model_cost, dict(_bundled())
    changed()
    try:
        yield module.model_cost
    finally:
        module.model_cost = kept
        changed()


@lru_cache(maxsize=1)
def _bundled() -> Mapping[str, Json]:
    from litellm.litellm_core_utils.get_model_cost_map import GetModelCostMap

    return GetModelCostMap.load_local_model_cost_map()


def _computed(response: Any) -> str | None:
    try:
        return _usd(litellm().completion_cost(completion_response=response))
    except Exception as error:  # noqa: BLE001  (as above)
        return type(error).__name__


async def _streamed(named: Mapping[str, Any]) -> str | None:
    """What LiteLLM tells its callbacks that a stream cost."""
    from litellm.integrations.custom_logger import CustomLogger

    told: asyncio.Queue[float | None] = asyncio.Queue()

    class Costs(CustomLogger):
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.put_nowait(kwargs["response_cost"])

    module, costs = litellm(), Costs()
    module.callbacks.append(costs)
    try:
        assert [chunk async for chunk in await module.acompletion(**named)]
        return _usd(await asyncio.wait_for(told.get(), PATIENCE))
    finally:
        module.logging_callback_manager.remove_callback_from_all_lists(costs)


def _usd(cost: float | None) -> str | None:
    return None if cost is None else usd(round(Decimal(str(cost)) * 1_000_000_000))


class OurRouter:
    """Our router, with a deployment of the same parameters."""

    def __init__(self, build: RouterFrom) -> None:
        self._build = build

    async def ask(self, ask: Ask, base: str) -> Seen:
        params = {"model": ask.model, "api_base": base, "api_key": "sandbox-key", **ask.params}
        router = self._build(yaml.safe_dump({"model_list": [{"model_name": "m", "litellm_params": params}]}))
        body = {name: value for name, value in ask.body.items() if name != "drop_params"}
        try:
            answer = await router.serve(Call("chat", {"model": "m", **body}))
        except RequestError as error:
            return Seen([], [], error=type(error).__name__)
        if isinstance(answer, AnswerStream):
            assert [chunk async for chunk in answer]
        receipt = Receipt.of(answer.exchange)
        return Seen([], [], receipt.cost_usd, effort=receipt.effort, warnings=receipt.warnings)

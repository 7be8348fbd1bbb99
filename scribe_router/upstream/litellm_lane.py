"""The LiteLLM lane: one attempt through `litellm.Router`, pinned to one deployment, behind the allow-list.

One LiteLLM Router lives as long as the process (each new one leaves callbacks behind). Deployments enter it when they
are first used, under ids of their own generation, and leave it with the router that brought them.
"""

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

from scribe_router.exchange import AttemptFailed, Category, Json, Reached
from scribe_router.policies.parameters import ANTHROPIC_OWN, API
from scribe_router.registry import Deployment
from scribe_router.upstream.failures import from_exception
from scribe_router.upstream.mark import ours
from scribe_router.upstream.shape import Shaped

# Set before LiteLLM is imported: no download of prices or headers, no `.env` from a folder above its package.
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
# No retries, fallbacks or MCP (its base install lacks the `mcp` module, and looks for it whenever there are tools).
PINNED: Mapping[str, Any] = MappingProxyType(
    {"num_retries": 0, "max_retries": 0, "disable_fallbacks": True, "_skip_mcp_handler": True}
)
_generations = itertools.count(1)


class _Process:
    """The one LiteLLM Router of this process; loaded on first use, since the import takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._router: Any = None

    def router(self) -> Any:
        with self._lock:
            if self._router is None:
                self._router = _load()
            return self._router

    def add(self, identity: str, deployment: Deployment) -> None:
        router = self.router()
        with self._lock:
            router.upsert_deployment(_fed(identity, deployment))

    def remove(self, identities: set[str]) -> None:
        """Take deployments out, and with them what LiteLLM remembers of each id in its price map."""
        if self._router is None or not identities:
            return
        import litellm

        with self._lock:
            for identity in identities:
                self._router.delete_deployment(id=identity)
                litellm.model_cost.pop(identity, None)


_process = _Process()


def _load() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = False
    from litellm.router import Router

    return Router(model_list=[], num_retries=0, disable_cooldowns=True, ignore_invalid_deployments=False)


def _fed(identity: str, deployment: Deployment) -> Any:
    """A deployment as LiteLLM gets it: where and how to call, nothing that is ours to decide.

    Prices are ours, so LiteLLM is told zero: a model without any costs it 2 ms a call.
    """
    from litellm.types.router import Deployment as Fed
    from litellm.types.router import LiteLLM_Params

    params: dict[str, Any] = {
        **deployment.litellm_params,
        **dict.fromkeys(_ZERO_PRICES, 0.0),
        "model": deployment.litellm_model,
        "api_base": deployment.api_base,
        "api_key": deployment.api_key or "none",
    }
    return Fed(model_name=identity, litellm_params=LiteLLM_Params(**params), model_info={"id": identity})


_ZERO_PRICES = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)


class LiteLLMLane:
    """Sends shaped requests through LiteLLM's translation."""

    def __init__(self) -> None:
        self.generation = next(_generations)
        self._fed: set[str] = set()

    async def call(self, shaped: Shaped) -> Json:
        """One plain call: the reply in OpenAI's format. Raises `AttemptFailed`."""
        with ours():
            response = await self._pinned(shaped)
        reply = response.model_dump(mode="json", exclude_none=True)
        if not _reported(reply.get("usage")):
            reply.pop("usage", None)
        return reply  # type: ignore[no-any-return]

    async def stream(self, shaped: Shaped) -> AsyncIterator[Json]:
        """One stream: chunks in OpenAI's format. Raises `AttemptFailed`.

        LiteLLM invents a finish reason and estimates usage where the provider sent none; `chunks` holds what came.
        """
        with ours():
            response = await self._pinned(shaped)
        try:
            async with aclosing(response):
                async for chunk in response:
                    yield _honest(chunk, response.chunks)
        except AttemptFailed:
            raise
        except Exception as error:  # noqa: BLE001  (LiteLLM raises some forty classes; the cause chain decides)
            raise from_exception(error) from None

    async def _pinned(self, shaped: Shaped) -> Any:
        identity = await self._identity(shaped.deployment)
        router = _process.router()
        call = router.acompletion if shaped.api == "chat" else router.aembedding
        try:
            return await call(**{**arguments(shaped), **PINNED, "model": identity})
        except Exception as error:  # noqa: BLE001  (as above)
            raise from_exception(error) from None

    async def _identity(self, deployment: Deployment) -> str:
        identity = f"{deployment.id}@{self.generation}"
        if identity not in self._fed:
            await asyncio.to_thread(_process.add, identity, deployment)
            self._fed.add(identity)
        return identity

    def close(self) -> None:
        """Take this generation's deployments out of LiteLLM's Router."""
        fed, self._fed = self._fed, set()
        _process.remove(fed)


def arguments(shaped: Shaped) -> dict[str, Any]:
    """Keyword arguments of the pinned call: the API's own parameters; everything else travels in the body.

    LiteLLM has no channel for unknown names to Anthropic, so there the listed ones are arguments and others an error.
    """
    body = {name: value for name, value in shaped.body.items() if name != "model"}
    known = API[shaped.api] - {"metadata"}
    named = {name: value for name, value in body.items() if name in known}
    rest = {name: value for name, value in body.items() if name not in known}
    if shaped.deployment.wire == "anthropic":
        named |= {name: rest.pop(name) for name in tuple(rest) if name in ANTHROPIC_OWN}
        if rest:
            detail = f"{shaped.deployment.provider} does not take {', '.join(sorted(rest))}"
            raise AttemptFailed(Category.BAD_REQUEST, Reached.NOT_CONNECTED, detail)
    if rest:
        named["extra_body"] = rest
    if shaped.deployment.headers:
        named["extra_headers"] = dict(shaped.deployment.headers)
    return named


def _honest(chunk: Any, came: list[Any]) -> Json:
    dumped: Json = chunk.model_dump(mode="json", exclude_none=True)
    for choice in dumped.get("choices") or ():
        if choice.get("finish_reason") and not _finished(came, choice.get("index") or 0):
            raise AttemptFailed(Category.STREAM, Reached.STREAMED, "the stream ended without its end mark")
    if dumped.get("usage") and not any(getattr(each, "usage", None) for each in came):
        del dumped["usage"]
    return dumped


def _finished(came: list[Any], index: int) -> bool:
    return any(
        choice.finish_reason and (choice.index or 0) == index
        for chunk in came
        for choice in getattr(chunk, "choices", ())
    )


def _reported(usage: Any) -> bool:
    return isinstance(usage, Mapping) and bool(usage.get("prompt_tokens") or usage.get("completion_tokens"))


def warm_up() -> None:
    """Load LiteLLM now, so that the first call does not wait for it."""
    _process.router()

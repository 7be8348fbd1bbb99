"""The LiteLLM lane: one attempt through `litellm.Router`, pinned to one deployment, behind the allow-list.

One LiteLLM Router lives as long as the process (each new one leaves callbacks behind). Deployments enter it when they
are first used, under ids of their own generation, and leave it with the router that brought them.
"""

import asyncio
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from scribe_router import plugins
from scribe_router.deployment import Deployment
from scribe_router.exchange import AttemptFailed, Json
from scribe_router.policies.parameters import ANTHROPIC_OWN, API
from scribe_router.upstream.failures import from_exception, from_stream_exception
from scribe_router.upstream.litellm_replies import as_openai, translated
from scribe_router.upstream.mark import ours
from scribe_router.upstream.mended import mend
from scribe_router.upstream.quiet import litellm
from scribe_router.upstream.shape import Shaped, limits_in

PINNED: Mapping[str, Any] = MappingProxyType(
    {"num_retries": 0, "max_retries": 0, "disable_fallbacks": True, "drop_params": False}
)
# As an argument `metadata` is for LiteLLM's own callbacks, `user` reaches only those models that it knows, and
# `reasoning_effort` loses its level at some providers. It takes a forced tool from Moonshot's and Mistral's models (and
# writes a turn of its own instead), moves a temperature, and refuses what Mistral takes.
TOUCHED = {"reasoning_effort", "tool_choice", "temperature", "n", "presence_penalty", "frequency_penalty"}
NOT_AS_ARGUMENTS: Mapping[str, set[str]] = MappingProxyType({"openai": {"metadata", "user"} | TOUCHED})
# What LiteLLM looks at itself, where a body travels as it is.
STREAMS = ("stream", "stream_options")
SEEN = ("messages", "input", *STREAMS)
# What it translates, beyond OpenAI's names.
OWN: Mapping[str, frozenset[str]] = MappingProxyType(
    {"anthropic": ANTHROPIC_OWN, "gemini": frozenset({"thinking", "top_k"})}
)
# Its client for OpenAI takes these from the environment, and would tell them to whatever host it is pointed at.
_SOMEBODY = ("OPENAI_ORGANIZATION", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
_NOBODY = MappingProxyType({"OpenAI-Organization": "", "OpenAI-Project": ""})
MOST_FED = 4096  # a wildcard makes a deployment of every name that a client thinks of
_generations = itertools.count(1)


class _Process:
    """The one LiteLLM Router of this process; loaded on first use, since the import takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._router: Any = None
        self.leaving: deque[str] = deque()

    def router(self) -> Any:
        with self._lock:
            if self._router is None:
                self._router = _load()
            return self._router

    def add(self, identity: str, deployment: Deployment) -> None:
        router = self.router()
        with self._lock:
            self._remove_leaving()
            router.upsert_deployment(_fed(identity, deployment))

    def remove(self, identities: set[str]) -> None:
        """Take deployments out, and with them what LiteLLM remembers of each id in its price map."""
        self.leaving.extend(identities)
        with self._lock:
            self._remove_leaving()

    def _remove_leaving(self) -> None:
        if not self.leaving:
            return
        while self.leaving:
            identity = self.leaving.popleft()
            self._router.delete_deployment(id=identity)
            litellm().model_cost.pop(identity, None)


_process = _Process()


def _load() -> Any:
    router = litellm().Router  # before anything of LiteLLM is imported: the import alone would download prices

    class Pinned(router):  # type: ignore[valid-type, misc]
        """A Router that hands a stream over as it is: its own wrapper falls back in mid-stream, and logs an error."""

        async def _acompletion_streaming_iterator(self, model_response: Any, *_: Any, **__: Any) -> Any:
            return model_response

    module = litellm()
    others = plugins.loaded("providers").items()
    module.custom_provider_map += [{"provider": name, "custom_handler": one} for name, one in others]
    module.utils.custom_llm_setup()
    mend()
    return Pinned(model_list=[], num_retries=0, disable_cooldowns=True, ignore_invalid_deployments=False)


def _fed(identity: str, deployment: Deployment) -> Any:
    """A deployment as LiteLLM gets it: where and how to call, nothing that is ours to decide.

    Prices are ours, so LiteLLM is told zero: a model without any costs it 2 ms a call.
    """
    from litellm.types.router import Deployment as Fed
    from litellm.types.router import LiteLLM_Params

    params: dict[str, Any] = {
        **deployment.litellm_params,
        **dict.fromkeys(_ZERO_PRICES, 0.0),
        "model": deployment.named_for_litellm,
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
        self._fed: dict[str, None] = {}
        # The collector may run this inside `add`, so it only leaves a note; the next `add` or `close` reads it.
        weakref.finalize(self, _process.leaving.extend, self._fed)

    async def call(self, shaped: Shaped) -> Json:
        """One plain call: the reply in OpenAI's format. Raises `AttemptFailed`."""
        with ours():
            response = await self._pinned(shaped)
        return as_openai(response.model_dump(mode="json", exclude_none=True), shaped.deployment.wire)

    async def stream(self, shaped: Shaped) -> AsyncIterator[Json]:
        """One stream: chunks in OpenAI's format. Raises `AttemptFailed`."""
        with ours():
            response = await self._pinned(shaped)
        try:
            async with aclosing(response):
                async for chunk in translated(response, shaped.deployment.wire):
                    yield chunk
        except AttemptFailed:
            raise
        except Exception as error:  # noqa: BLE001  (LiteLLM raises some forty classes; the cause chain decides)
            raise from_stream_exception(error) from None

    async def _pinned(self, shaped: Shaped) -> Any:
        identity = await self._identity(shaped.deployment)
        router = _process.router()
        call = router.acompletion if shaped.api == "chat" else router.aembedding
        named = {**arguments(shaped), **PINNED, "model": identity}
        try:
            response = await call(**named)
            if shaped.stream and response.completion_stream is None:
                await response.fetch_stream()  # some providers are asked only when the first chunk is wanted
        except Exception as error:  # noqa: BLE001  (as above)
            raise from_exception(error) from None
        told = getattr(response, "_hidden_params", None) or {}
        shaped.upstream_limits.update(limits_in(told.get("additional_headers") or {}))
        return response

    async def _identity(self, deployment: Deployment) -> str:
        identity = f"{deployment.id}@{self.generation}"
        if identity not in self._fed:
            await asyncio.to_thread(_process.add, identity, deployment)
            self._fed[identity] = None
            if len(self._fed) > MOST_FED:
                oldest = next(iter(self._fed))
                del self._fed[oldest]
                _process.leaving.append(oldest)
        return identity

    def close(self) -> None:
        """Take this generation's deployments out of LiteLLM's Router."""
        leaving = set(self._fed)
        self._fed.clear()
        _process.remove(leaving)


def arguments(shaped: Shaped) -> dict[str, Any]:
    """Keyword arguments of the pinned call: the API's own parameters; everything else travels in the body."""
    named, rest = _parted(shaped)
    if shaped.deployment.wire == "ollama" and isinstance(rest.get("options"), dict) and shaped.cap is not None:
        rest["options"]["num_predict"] = shaped.cap  # they take the place of LiteLLM's, which hold the cap
    if rest:
        named["extra_body"] = rest
    if shaped.api == "chat":
        named["_skip_mcp_handler"] = True  # else it imports a client for MCP whenever there are tools
    else:
        named["allowed_openai_params"] = sorted(named)  # it knows of no model but two that takes dimensions
    nobody = _NOBODY if shaped.deployment.anonymous and any(name in os.environ for name in _SOMEBODY) else {}
    if headers := {**nobody, **shaped.headers}:
        # In lower case LiteLLM takes the values out that it does not know.
        betas = {name: "Anthropic-Beta" for name in headers if name.lower() == "anthropic-beta"}
        named["extra_headers"] = {betas.get(name, name): value for name, value in headers.items()}
    return named


def as_arguments(shaped: Shaped) -> frozenset[str]:
    """The names that LiteLLM has to translate; in the body it would send them as they are, or not know of them."""
    deployment, wire = shaped.deployment, shaped.deployment.wire
    known = (API[shaped.api] - NOT_AS_ARGUMENTS.get(wire, {"metadata"})) | OWN.get(wire, frozenset())
    if deployment.provider != "openai":
        return known
    # The Responses API has other places for them; and without an effort LiteLLM refuses a temperature.
    return known | (TOUCHED if deployment.family is not None else TOUCHED - {"reasoning_effort"})


def _parted(shaped: Shaped) -> tuple[dict[str, Any], dict[str, Any]]:
    """The body as arguments, and what of it travels as it is.

    To a host of OpenAI's format that is all of it, as on the wire lane: LiteLLM would move a temperature, take an image
    out, write a turn of its own, or refuse what the host takes.
    """
    # LiteLLM changes what it is given: for Gemini it takes `additionalProperties` out of the client's own schema.
    body = {name: deepcopy(value) for name, value in shaped.body.items() if name != "model"}
    wire = shaped.deployment.wire
    if wire == "openai" and not (shaped.deployment.litellm_lane_for_tools and body.get("tools")):
        named = {name: body[name] for name in SEEN if name in body}
        return named, {name: value for name, value in body.items() if name not in STREAMS}
    known = as_arguments(shaped)
    return {name: body.pop(name) for name in tuple(body) if name in known}, body


def warm_up() -> None:
    """Load LiteLLM now, so that the first call does not wait for it."""
    _process.router()

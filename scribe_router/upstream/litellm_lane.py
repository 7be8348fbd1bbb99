"""The LiteLLM lane: one attempt through `litellm.Router`, pinned to one deployment, behind the allow-list.

One LiteLLM Router lives as long as the process (each new one leaves callbacks behind). Deployments enter it when they
are first used, under ids of their own generation, and leave it with the router that brought them.
"""

import asyncio
import itertools
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import aiohttp

from scribe_router.exchange import AttemptFailed, Category, Json, Reached
from scribe_router.policies.parameters import ANTHROPIC_OWN, API
from scribe_router.registry import Deployment
from scribe_router.upstream.failures import from_exception, from_stream_exception
from scribe_router.upstream.mark import ours
from scribe_router.upstream.quiet import litellm
from scribe_router.upstream.shape import Shaped

PINNED: Mapping[str, Any] = MappingProxyType(
    {"num_retries": 0, "max_retries": 0, "disable_fallbacks": True, "drop_params": False}
)
# As an argument `metadata` is for LiteLLM's own callbacks, and `user` reaches only those models that it knows.
NOT_AS_ARGUMENTS: Mapping[str, set[str]] = MappingProxyType({"openai": {"metadata", "user"}})
# What it translates, beyond OpenAI's names.
OWN: Mapping[str, frozenset[str]] = MappingProxyType(
    {"anthropic": ANTHROPIC_OWN, "gemini": frozenset({"thinking", "top_k"})}
)
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
    import httpx
    from litellm.llms.custom_httpx.aiohttp_transport import AIOHTTP_EXC_MAP

    class Pinned(litellm().Router):  # type: ignore[misc]
        """A Router that hands a stream over as it is: its own wrapper falls back in mid-stream, and logs an error."""

        async def _acompletion_streaming_iterator(self, model_response: Any, *_: Any, **__: Any) -> Any:
            return model_response

    # It takes a connection that was reset for one that was never made, and sends such a request a second time.
    AIOHTTP_EXC_MAP[aiohttp.ClientOSError] = httpx.ReadError
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
        # The collector may run this inside `add`, so it only leaves a note; the next `add` or `close` reads it.
        weakref.finalize(self, _process.leaving.extend, self._fed)

    async def call(self, shaped: Shaped) -> Json:
        """One plain call: the reply in OpenAI's format. Raises `AttemptFailed`."""
        with ours():
            response = await self._pinned(shaped)
        return _as_openai(response.model_dump(mode="json", exclude_none=True), shaped.deployment.wire)

    async def stream(self, shaped: Shaped) -> AsyncIterator[Json]:
        """One stream: chunks in OpenAI's format. Raises `AttemptFailed`."""
        with ours():
            response = await self._pinned(shaped)
        try:
            async with aclosing(response):
                async for chunk in _chunks(response, shaped.deployment.wire):
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
        return response

    async def _identity(self, deployment: Deployment) -> str:
        identity = f"{deployment.id}@{self.generation}"
        if identity not in self._fed:
            await asyncio.to_thread(_process.add, identity, deployment)
            self._fed.add(identity)
        return identity

    def close(self) -> None:
        """Take this generation's deployments out of LiteLLM's Router."""
        leaving = set(self._fed)
        self._fed.clear()
        _process.remove(leaving)


def arguments(shaped: Shaped) -> dict[str, Any]:
    """Keyword arguments of the pinned call: the API's own parameters; everything else travels in the body.

    LiteLLM has no channel for unknown names to Anthropic, so there the listed ones are arguments and others an error.
    """
    # LiteLLM changes what it is given: for Gemini it takes `additionalProperties` out of the client's own schema.
    body = {name: deepcopy(value) for name, value in shaped.body.items() if name != "model"}
    wire = shaped.deployment.wire
    known = (API[shaped.api] - NOT_AS_ARGUMENTS.get(wire, {"metadata"})) | OWN.get(wire, frozenset())
    named = {name: value for name, value in body.items() if name in known}
    rest = {name: value for name, value in body.items() if name not in known}
    if rest and wire == "anthropic":
        detail = f"{shaped.deployment.provider} does not take {', '.join(sorted(rest))}"
        raise AttemptFailed(Category.BAD_REQUEST, Reached.NOT_CONNECTED, detail)
    if rest:
        named["extra_body"] = rest
    if shaped.api == "chat":
        named["_skip_mcp_handler"] = True  # else it imports a client for MCP whenever there are tools
    else:
        named["allowed_openai_params"] = sorted(named)  # it knows of no model but two that takes dimensions
    if shaped.deployment.headers:
        named["extra_headers"] = dict(shaped.deployment.headers)
    return named


def _as_openai(reply: Json, wire: str) -> Json:
    """A reply of LiteLLM's as OpenAI would word it: nothing empty, nothing twice, and no usage that nobody reported."""
    usage = reply.get("usage") or {}
    if not any(usage.get(name) for name in ("prompt_tokens", "completion_tokens", "cost")):
        reply.pop("usage", None)
    shown = {name: value for name, value in reply.items() if name in ("choices", "data") or not _empty(value)}
    if "choices" in shown:
        shown["choices"] = [_choice(choice, wire) for choice in shown["choices"]]
    return shown


def _choice(choice: Json, wire: str) -> Json:
    message = _unfolded(choice.pop("message", None) or {}, wire)
    for call in message.get("tool_calls") or ():
        call.pop("index", None)
    silent = message.keys() & {"tool_calls", "function_call", "refusal"}
    return {**_unfolded(choice, wire), "message": {"role": "assistant", "content": None if silent else "", **message}}


def _unfolded(part: Json, wire: str) -> Json:
    """A message, delta or choice without what is empty. LiteLLM folds what OpenAI does not know, and repeats some of
    it, in `provider_specific_fields`: of a host that speaks OpenAI's format it goes back to where it came from."""
    folded = part.pop("provider_specific_fields", None) or {}
    shown = {name: value for name, value in part.items() if not _empty(value)}
    rest = {name: value for name, value in folded.items() if not _empty(value) and name not in shown}
    if wire == "openai":
        return {**shown, **rest}
    if "refusal" in rest:
        shown["refusal"] = rest.pop("refusal")
    return {**shown, "provider_specific_fields": rest} if rest else shown


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


async def _chunks(response: Any, wire: str) -> AsyncIterator[Json]:
    """The chunks of a stream, from under LiteLLM's own iterator: that one invents a finish reason and usage where none
    came, and loses those of a second choice. For a format that no row knows it is all there is."""
    if wire == "other":
        async for chunk in response:
            if chunk.choices and chunk.choices[0].finish_reason and not response.received_finish_reason:
                return
            dumped = chunk.model_dump(mode="json", exclude_none=True)
            if not any(getattr(each, "usage", None) for each in response.chunks):
                dumped.pop("usage", None)
            yield dumped
        return
    translated = _Translated(response.completion_stream, wire)
    async for chunk in response.completion_stream:
        shown = translated.see(chunk)
        if shown is not None:
            yield shown
    if translated.finished and translated.usage:
        yield {**translated.head, "choices": [], "usage": translated.usage}


class _Translated:
    """Chunks of one stream as OpenAI would send them. `usage` is the truth once the stream has `finished`."""

    def __init__(self, stream: Any, wire: str) -> None:
        self.head: Json = {}
        self.usage: Json = {}
        self.finished = False
        self._wire = wire
        self._began: set[int] = set()
        self._ends = True
        if wire == "gemini":
            self._watch(stream)

    def _watch(self, stream: Any) -> None:
        """LiteLLM says "stop" in each chunk of Gemini's, so look at what came before it is translated."""
        parse = stream.chunk_parser

        def watched(chunk: Json) -> Any:
            candidates = chunk.get("candidates") or ()
            self._ends = any(candidate.get("finishReason") for candidate in candidates) or "promptFeedback" in chunk
            return parse(chunk)

        stream.chunk_parser = watched

    def see(self, chunk: Any) -> Json | None:
        """The chunk for the client; None when it holds nothing but usage, which comes at the end."""
        if chunk is None or isinstance(chunk, Mapping):  # lines between events
            return None
        if type(chunk).__module__.startswith("openai."):
            return chunk.model_dump(mode="json", exclude_unset=True)  # type: ignore[no-any-return]
        dumped = chunk.model_dump(mode="json", exclude_none=True)
        self.usage = _added(self.usage, dumped.pop("usage", None) or {})
        choices = [shown for choice in dumped.pop("choices", ()) if (shown := self._choice(choice)) is not None]
        # Ollama has no ids, so LiteLLM makes one up for each chunk: the first one stays.
        same = {name: self.head[name] for name in ("id", "created") if name in self.head}
        self.head = {name: value for name, value in {**dumped, **same}.items() if not _empty(value)}
        return {**self.head, "choices": choices} if choices else None

    def _choice(self, choice: Json) -> Json | None:
        index = choice.get("index") or 0
        delta = _unfolded(choice.get("delta") or {}, self._wire)
        finish = choice.get("finish_reason") if self._ends else None
        if not delta and not finish:
            return None
        self.finished = self.finished or bool(finish)
        if index not in self._began:
            self._began.add(index)
            delta = {"role": "assistant", **delta}
        return {**choice, "index": index, "delta": delta, "finish_reason": finish}


def _added(before: Json, after: Json) -> Json:
    """Usage as it grows: Anthropic tells of the input when a stream begins and of the output when it ends."""
    both = {**before}
    for name, value in after.items():
        if isinstance(value, Mapping):
            both[name] = _added(before.get(name) or {}, dict(value))
        elif value or name not in both:
            both[name] = value
    if "total_tokens" in both:
        both["total_tokens"] = both["prompt_tokens"] + both["completion_tokens"]
    return both


def warm_up() -> None:
    """Load LiteLLM now, so that the first call does not wait for it."""
    _process.router()

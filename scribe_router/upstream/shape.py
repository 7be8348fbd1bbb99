"""The body that goes upstream: the client's, the operator's defaults, the name that the provider knows, the output cap.

Pure. The client's fields are kept as they came; what is ours is taken out; nothing is re-modelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scribe_router.deployment import Deployment
from scribe_router.encoding import json_bytes
from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Api, Call, Json, Lane, Level
from scribe_router.names import did_you_mean
from scribe_router.policies.caching import marked
from scribe_router.policies.history import readable
from scribe_router.policies.modes import moded
from scribe_router.policies.parameters import OURS
from scribe_router.policies.providers import lacks_search
from scribe_router.policies.quirks import headers
from scribe_router.policies.reasoning import CONTROLS, LEVELS, Asked, Encoded, asked, encode
from scribe_router.upstream.accepted import accepted

CAPS = ("max_completion_tokens", "max_tokens")
_OUR_METADATA = ("task", "experiment_unit", "regions", "tags", "zero_retention")
# What a chat template and the preamble for tools add, beyond the bytes of the body: generous, for money only.
TEMPLATE_TOKENS, TOOLS_TOKENS = 256, 2_048


@dataclass(frozen=True, slots=True)
class Shaped:
    """A request for one deployment. `cap` is the output cap in tokens (None: none is written, as for embeddings).

    `wish` is the reasoning that is asked for in another's words; `effort` is how it is said here, below this cap, and
    `plain` the body without it. `left_out` says what these models refuse; while they think that is more.
    `searching` are the fields by which `enable_search` is said here. A lane that sees the provider's own limits of rate
    writes them into `upstream_limits`.
    """

    api: Api
    deployment: Deployment
    body: Json
    cap: int | None = None
    requested_cap: int | None = None
    warnings: tuple[str, ...] = ()
    wish: Asked | None = None
    effort: Encoded | None = None
    plain: Json | None = None
    left_out: tuple[str, ...] = ()
    searching: tuple[str, ...] = ()
    upstream_limits: dict[str, str] = field(default_factory=dict)

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def choices(self) -> int:
        """The answers that are billed: for each of several prompts, the most that are made of it."""
        if self.api != "completions":
            return int(self.body.get("n") or 1)
        prompt = self.body["prompt"]
        prompts = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
        return prompts * max(self.body.get("n") or 1, self.body.get("best_of") or 1)

    def with_cap(self, cap: int) -> "Shaped":
        """The same request with this output cap under the name that the provider knows, and with what it may think."""
        plain = self.body if self.plain is None else self.plain
        body = {**plain, self.deployment.cap_parameter: cap}
        family = self.deployment.family
        effort = None if self.wish is None or family is None else encode(family, self.wish, cap)
        body, effort, left_out = accepted(body, self.deployment, effort)
        return replace(self, cap=cap, body=body, left_out=left_out, effort=effort, plain=plain)

    @property
    def said(self) -> str:
        """The wish and what became of it: `requested=max; sent=high; degraded: max is not available`."""
        if self.effort is None:
            return ""
        degraded = f"; degraded: {self.effort.degraded}" if self.effort.degraded else ""
        wish = self.wish or asked(self.plain or {}, ()) or "default"
        return f"requested={wish}; sent={self.effort.level}{degraded}"

    @property
    def headers(self) -> Mapping[str, str]:
        """The deployment's headers, and those that its quirks add for this body."""
        own, rows = self.deployment.headers, self.deployment.quirks
        return headers(rows, own, self.body, len(self.encoded())) if any(row.headers for row in rows) else own

    def encoded(self) -> bytes:
        """The body as JSON bytes."""
        return json_bytes(self.body)


def shape(
    call: Call, deployment: Deployment, auto: Level | None = None, lane: Lane | None = None, mode: str | None = None
) -> Shaped:
    """The request for `deployment`, without an output cap yet. `auto` is what that reasoning effort means for it,
    `mode` the provider's routing mode."""
    deployment = deployment.completing() if call.api == "completions" else deployment
    body = {name: value for name, value in call.body.items() if name not in OURS}
    if isinstance(body.get("provider"), str):
        del body["provider"]
    warnings = _metadata(body, deployment)
    body["model"] = deployment.upstream_model
    if call.api == "chat" and deployment.history is not None:
        # LiteLLM makes such items of the Responses API's, and there alone they are read.
        items = {"reasoning_items"} if lane == "litellm" and deployment.litellm_lane_for_tools else set()
        family, ids = deployment.family, deployment.tool_call_ids
        wants = deployment.history_wanted and family is not None and family.default != "none"
        body["messages"] = readable(body["messages"], deployment.history | items, ids, wants=wants)
    controlled = any(name in call.body for name in CONTROLS)
    for name, value in deployment.params.items():
        if name not in (*CAPS, "enable_search") and name not in body and not (controlled and name in CONTROLS):
            body[name] = value
    if mode is not None and call.api == "chat":
        body = moded(body, deployment.modes.fields[mode])
    wish, unsaid = _wish(call, body, deployment, auto) if call.api == "chat" else (None, ())
    searching, silent = _search(call, body, deployment) if call.api == "chat" else ((), ())
    requested = None if call.api == "embeddings" else _take_cap(body, deployment)
    if deployment.cache_for is not None and deployment.prompt_caching is not None and call.api == "chat":
        caching = deployment.prompt_caching
        body = marked(body, deployment.cache_for, minimum=caching.minimum, tools=caching.tools)
    if not deployment.stream_options:
        body.pop("stream_options", None)
    elif call.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    warnings += (*unsaid, *silent)
    return Shaped(call.api, deployment, body, None, requested, warnings, wish, searching=searching)


def _wish(call: Call, body: Json, deployment: Deployment, auto: Level | None) -> tuple[Asked | None, tuple[str, ...]]:
    """The reasoning that is asked for in words that are not the provider's own, which leave the body; and what else of
    it is not sent. Raises `InvalidRequest` for an effort that is not on the scale."""
    family = deployment.family
    tokens = call.body.get("thinking_budget")
    if family is None:
        named = ["thinking_budget"] if tokens is not None else []
        if body.get("reasoning_effort") == "auto":
            named.append(f"reasoning_effort {body.pop('reasoning_effort')}")
        return None, tuple(f"{each} is not sent to {deployment.id}: it is not known how it thinks" for each in named)
    if tokens is not None:
        body["thinking_budget"] = tokens
    _check_effort(body)
    wish = family.wish(body, auto)
    unsaid = []
    for name in CONTROLS:
        if name in body and name not in family.native:  # what is native is written over, where there is a wish
            if wish is None and body[name] not in (None, "auto"):
                unsaid.append(f"{name} is not sent to {deployment.id}, which does not know it")
            del body[name]
    return wish, tuple(unsaid)


def _search(call: Call, body: Json, deployment: Deployment) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the deployment's own words for a web search into the body, where the request or else the operator wants
    one: (their names, what to say where it has none). What the client wrote under the same names stays."""
    said = call.body.get("enable_search")
    if not (deployment.params.get("enable_search") if said is None else said):
        return (), ()
    tools = bool(call.body.get("tools") or call.body.get("functions"))
    lacking = lacks_search(deployment.search, deployment.upstream_model, tools=tools)
    if deployment.search is None or lacking:
        return (), (f"enable_search is not sent to {deployment.id}: {lacking}",)
    for name, value in deployment.search.fields.items():
        there = body.get(name)
        if isinstance(value, list):
            own = there or ()
            body[name] = [*own, *(each for each in value if not any(_same(each, other) for other in own))]
        elif there is None:
            body[name] = value
    return tuple(deployment.search.fields), ()


def _same(tool: Any, other: Any) -> bool:
    """Whether two tools are one: the same type or name, whatever they say beside it."""
    return isinstance(other, Mapping) and any(tool.get(name, 0) == other.get(name) for name in ("type", "name"))


def _check_effort(body: Json) -> None:
    effort = body.get("reasoning_effort")
    if isinstance(effort, str) and effort not in (*LEVELS, "auto"):
        hint = did_you_mean(effort, LEVELS) or f"; it is one of {', '.join(LEVELS)}, auto"
        message = f"there is no reasoning_effort {effort[:32]!r}{hint}"
        raise InvalidRequest(message, code="invalid_value", param="reasoning_effort")


def _take_cap(body: Json, deployment: Deployment) -> int | None:
    """The output cap that the client names, else the operator's default; it leaves the body under either name."""
    asked = [body.pop(name, None) for name in CAPS]
    return next(filter(None, (*asked, *(deployment.params.get(name) for name in CAPS))), None)


def _metadata(body: Json, deployment: Deployment) -> tuple[str, ...]:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return ()
    theirs = {name: value for name, value in metadata.items() if name not in _OUR_METADATA}
    if theirs and deployment.wire == "openai":
        body["metadata"] = theirs
        return ()
    del body["metadata"]
    return (f"metadata is not sent to {deployment.provider}",) if theirs else ()


def limits_in(headers: Mapping[str, Any]) -> dict[str, str]:
    """What a provider says of its limits of rate: `x-ratelimit-remaining-tokens: 9` is `remaining-tokens`.

    LiteLLM makes numbers of some values.
    """
    found = {name.lower().partition("ratelimit-")[2]: str(value) for name, value in headers.items()}
    return {name: value for name, value in found.items() if name}


def default_cap(shaped: Shaped) -> int:
    """The output cap of a request that names none: the deployment's, above the tokens that the client wants thought,
    never above the model's."""
    return shaped.deployment.cap_for(shaped.wish or asked(shaped.body, ()))


def input_ceiling(shaped: Shaped) -> int | None:
    """The most input tokens that the provider can bill: a token has at least one byte. None when it has no bound.

    Content by reference (an image, a file) is bounded by the window, which LiteLLM's map gives for input alone.
    """
    if _by_reference(shaped.body.get("messages")):
        return shaped.deployment.window
    tools = TOOLS_TOKENS if shaped.body.get("tools") or shaped.body.get("functions") else 0
    return len(shaped.encoded()) + TEMPLATE_TOKENS + tools


def _by_reference(messages: Any) -> bool:
    parts = (
        part
        for message in messages or ()
        if isinstance(message, Mapping) and isinstance(message.get("content"), list)
        for part in message["content"]
    )
    inline = ("text", "refusal", "thinking", "redacted_thinking", "tool_use", "tool_result")
    return any(
        not isinstance(part, str) and (not isinstance(part, Mapping) or part.get("type") not in inline)
        for part in parts
    )

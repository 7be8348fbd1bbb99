"""The body that goes upstream: the client's, the operator's defaults, the name that the provider knows, the output cap.

Pure. The client's fields are kept as they came; what is ours is taken out; nothing is re-modelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scribe_router.encoding import json_bytes
from scribe_router.exchange import Api, Call, Json
from scribe_router.policies.parameters import OURS
from scribe_router.registry import Deployment

CAPS = ("max_completion_tokens", "max_tokens")
_OUR_METADATA = ("task", "experiment_unit", "tags")
# What a chat template and the preamble for tools add, beyond the bytes of the body: generous, for money only.
TEMPLATE_TOKENS, TOOLS_TOKENS = 256, 2_048


@dataclass(frozen=True, slots=True)
class Shaped:
    """A request for one deployment. `cap` is the output cap in tokens (None: none is written, as for embeddings)."""

    api: Api
    deployment: Deployment
    body: Json
    cap: int | None = None
    requested_cap: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def choices(self) -> int:
        return int(self.body.get("n") or 1)

    def with_cap(self, cap: int) -> "Shaped":
        """The same request with this output cap written under the name that the provider knows."""
        return replace(self, cap=cap, body={**self.body, self.deployment.cap_parameter: cap})

    def encoded(self) -> bytes:
        """The body as JSON bytes."""
        return json_bytes(self.body)


def shape(call: Call, deployment: Deployment) -> Shaped:
    """The request for `deployment`, without an output cap yet."""
    body = {name: value for name, value in call.body.items() if name not in OURS}
    if isinstance(body.get("provider"), str):
        del body["provider"]
    warnings = _metadata(body, deployment)
    body["model"] = deployment.upstream_model
    for name, value in deployment.params.items():
        if name not in CAPS and name not in body:
            body[name] = value
    requested = _take_cap(body, deployment) if call.api == "chat" else None
    if call.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return Shaped(call.api, deployment, body, requested_cap=requested, warnings=warnings)


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


def default_cap(shaped: Shaped) -> int:
    """The output cap of a request that names none: the deployment's, never above the model's."""
    deployment = shaped.deployment
    return min(deployment.default_output_cap, deployment.max_output or deployment.default_output_cap)


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

"""Anthropic's wire under `/anthropic`: messages, plain and as named server-sent events."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from scribe_router.sandbox.fault import Fault, Reason
from scribe_router.sandbox.prompt import Object, Prompt, Said, Tool, measure, narrow
from scribe_router.sandbox.turn import Finish, ToolCall, Turn, Usage
from scribe_router.sandbox.wire import (
    LISTED,
    Call,
    Endpoint,
    Frame,
    Kind,
    Wire,
    bearer,
    cap_of,
    may,
    need,
    objects,
    read_nothing,
    sse,
    text_of,
)

SIGNATURE: Final = "c2FuZGJveC1zaWduYXR1cmU="
STOP: Final[Mapping[Finish, str]] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

WORDS: Final[Mapping[Reason, tuple[str, str]]] = {
    "request": ("invalid_request_error", "The request is invalid."),
    "authentication": ("authentication_error", "invalid x-api-key"),
    "permission": ("permission_error", "Your API key does not have permission to use the specified resource."),
    "missing": ("not_found_error", "model: not found"),
    "timeout": ("timeout_error", "Request timed out."),
    "size": ("request_too_large", "Request exceeds the maximum size"),
    "rate": ("rate_limit_error", "This request would exceed your organization's rate limit."),
    "context": ("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"),
    "content": ("invalid_request_error", "Output blocked by content filtering policy"),
    "overloaded": ("overloaded_error", "Overloaded"),
    "server": ("api_error", "Internal server error"),
}


def error(fault: Fault) -> Object:
    kind, words = WORDS[fault.reason]
    return {"type": "error", "error": {"type": kind, "message": fault.message or words}}


def error_event(fault: Fault) -> bytes:
    return sse(error(fault), "error")


# --- requests


def read_messages(call: Call) -> Prompt:
    body = call.body
    need(body, "messages", list)
    need(body, "max_tokens", int)
    said = [Said("system", text_of(body.get("system")))]
    for message in objects(body, "messages"):
        said.extend(said_in(message))
    tools, must_call = tools_of(body)
    return Prompt(
        model=need(body, "model", str),
        said=tuple(said),
        tools=tools,
        must_call=must_call,
        schema=schema_of(body),
        cap=cap_of(body, "max_tokens"),
        input_tokens=measure(said, body.get("tools")),
        stream=bool(body.get("stream")),
        body=body,
    )


def said_in(message: Object) -> Iterator[Said]:
    """The parts of one message: tool results stand in a user's message here, beside its text."""
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping) and block.get("type") == "tool_result":
            yield Said("tool", text_of(block.get("content")))
    if text := text_of(content):
        yield Said("assistant" if message.get("role") == "assistant" else "user", text)
    elif message.get("role") == "assistant":
        yield Said("assistant", "")


def tools_of(body: Object) -> tuple[tuple[Tool, ...], bool]:
    own = [tool for tool in objects(body, "tools") if "input_schema" in tool]
    tools = tuple(Tool(need(tool, "name", str), need(tool, "input_schema", dict)) for tool in own)
    choice = may(body, "tool_choice", dict) or {}
    mode = {"any": "any", "tool": "any", "none": "none"}.get(str(choice.get("type")), "auto")
    return narrow(tools, mode, choice.get("name"))


def schema_of(body: Object) -> Object | None:
    wanted = (may(body, "output_config", dict) or {}).get("format") or may(body, "output_format", dict) or {}
    schema = wanted.get("schema")
    return schema if isinstance(schema, Mapping) else None


# --- replies


def usage_of(usage: Usage, turn: Turn) -> dict[str, Any]:
    """Anthropic's input excludes what the cache served."""
    if turn.canned:
        return dict(turn.canned)
    counts = {
        "input_tokens": usage.input - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "service_tier": "standard",
    }
    return {**counts, "output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else counts


def head(prompt: Prompt, turn: Turn) -> dict[str, Any]:
    return {"id": f"msg_sandbox_{turn.number}", "type": "message", "role": "assistant", "model": prompt.model}


def tool_use(call: ToolCall, turn: Turn, place: int, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{turn.number}_{place}", "name": call.name, "input": arguments}


def blocks(turn: Turn) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if turn.thinking:
        found.append({"type": "thinking", "thinking": "".join(turn.thinking), "signature": SIGNATURE})
    if turn.text:
        found.append({"type": "text", "text": "".join(turn.text)})
    return [*found, *(tool_use(call, turn, place, call.input) for place, call in enumerate(turn.calls))]


def message(prompt: Prompt, turn: Turn) -> Object:
    reply = {**head(prompt, turn), "content": blocks(turn), "stop_reason": STOP[turn.finish], "stop_sequence": None}
    return {**reply, "usage": usage_of(turn.usage, turn)} if turn.usage else reply


def event(kind: Kind, name: str, **fields: Any) -> Frame:
    return Frame(kind, sse({"type": name, **fields}, name))


def message_stream(prompt: Prompt, turn: Turn) -> Iterator[Frame]:
    begun: dict[str, Any] = {**head(prompt, turn), "content": [], "stop_reason": None, "stop_sequence": None}
    if turn.usage:
        begun["usage"] = {**usage_of(turn.usage, turn), "output_tokens": 1}
    yield event("start", "message_start", message=begun)
    yield event("start", "ping")
    for index, (opening, deltas) in enumerate(block_deltas(turn)):
        yield event("start", "content_block_start", index=index, content_block=opening)
        for delta in deltas:
            kind: Kind = "start" if delta["type"] == "signature_delta" else "content"
            yield event(kind, "content_block_delta", index=index, delta=delta)
        yield event("start", "content_block_stop", index=index)
    reported = {"usage": usage_of(turn.usage, turn)} if turn.usage else {}
    yield event("end", "message_delta", delta={"stop_reason": STOP[turn.finish], "stop_sequence": None}, **reported)
    yield event("done", "message_stop")


def block_deltas(turn: Turn) -> Iterator[tuple[Object, list[dict[str, str]]]]:
    """Each content block of the answer as it opens, with the deltas that fill it."""
    if turn.thinking:
        deltas = [{"type": "thinking_delta", "thinking": token} for token in turn.thinking]
        signed = {"type": "signature_delta", "signature": SIGNATURE}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
    if turn.text:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": token} for token in turn.text]
    for place, call in enumerate(turn.calls):
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in call.fragments]
        yield tool_use(call, turn, place, {}), deltas


def models(_: Prompt, turn: Turn) -> Object:
    common = {"type": "model", "created_at": "2026-01-01T00:00:00Z"}
    data = [{"id": name, "display_name": name, **common} for name in LISTED]
    return {"data": data, "has_more": False, "first_id": LISTED[0], "last_id": LISTED[-1]}


ANTHROPIC: Final = Wire(
    prefix="/anthropic",
    endpoints=(
        Endpoint("/anthropic/v1/messages", read_messages, message, message_stream),
        Endpoint("/anthropic/v1/models", read_nothing, models, method="GET", behaves=False),
    ),
    error=error,
    error_event=error_event,
    key=lambda call: call.headers.get("x-api-key") or bearer(call.headers),
    request_id="request-id",
)

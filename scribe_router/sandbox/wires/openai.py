"""The OpenAI wire under `/v1`, which most other providers speak too: chat, legacy completions, embeddings, models.

And Mistral's fill-in-the-middle, which answers as a chat.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from scribe_router.sandbox import embedding
from scribe_router.sandbox.fault import Fault, Reason, invalid
from scribe_router.sandbox.prompt import Object, Prompt, Role, Said, Tool, count, measure, narrow
from scribe_router.sandbox.turn import ToolCall, Turn, Usage
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

CREATED: Final = 1_700_000_000
MOST_CHOICES: Final = 16

WORDS: Final[Mapping[Reason, tuple[str, str | None, str]]] = {
    "request": ("invalid_request_error", None, "The request is invalid."),
    "authentication": ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "permission": ("permission_error", "permission_denied", "You are not allowed to use this model."),
    "missing": ("invalid_request_error", "model_not_found", "The model does not exist or you have no access to it."),
    "timeout": ("timeout", None, "Request timed out."),
    "size": ("invalid_request_error", "request_too_large", "The request is too large."),
    "rate": ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 1s."),
    "context": (
        "invalid_request_error",
        "context_length_exceeded",
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
            "Please reduce the length of the messages."
        ),
    ),
    "content": (
        "invalid_request_error",
        "content_policy_violation",
        "Your request was rejected as a result of our safety system.",
    ),
    "overloaded": ("server_error", "overloaded", "The engine is currently overloaded, please try again later."),
    "server": ("server_error", None, "The server had an error while processing your request."),
}
ROLES: Final[Mapping[Any, Role]] = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}


def error(fault: Fault) -> Object:
    kind, code, words = WORDS[fault.reason]
    param = "messages" if fault.reason == "context" else None
    return {"error": {"message": fault.message or words, "type": kind, "param": param, "code": code}}


def error_event(fault: Fault) -> bytes:
    return sse(error(fault))


# --- requests


def read_chat(call: Call) -> Prompt:
    body = call.body
    said = tuple(Said(ROLES.get(one.get("role"), "system"), text_of(one.get("content"))) for one in messages_of(body))
    tools, must_call = tools_of(body)
    return Prompt(
        model=need(body, "model", str),
        said=said,
        tools=tools,
        must_call=must_call,
        schema=schema_of(body),
        cap=cap_of(body, "max_completion_tokens", "max_tokens"),
        input_tokens=measure(said, body.get("tools")),
        stream=bool(body.get("stream")),
        include_usage=bool((may(body, "stream_options", dict) or {}).get("include_usage")),
        n=choices_of(body),
        body=body,
    )


def messages_of(body: Object) -> list[Object]:
    need(body, "messages", list)
    messages = objects(body, "messages")
    if not messages:
        raise invalid("invalid parameter: 'messages' must not be empty")
    return messages


def choices_of(body: Object) -> int:
    n = 1 if body.get("n") is None else need(body, "n", int)
    if not 1 <= n <= MOST_CHOICES:
        raise invalid(f"invalid parameter: 'n' must be between 1 and {MOST_CHOICES}")
    return n


def tools_of(body: Object) -> tuple[tuple[Tool, ...], bool]:
    functions = [tool["function"] for tool in objects(body, "tools") if isinstance(tool.get("function"), Mapping)]
    tools = tuple(Tool(need(one, "name", str), one.get("parameters") or {}) for one in functions)
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        return narrow(tools, "any", (choice.get("function") or {}).get("name"))
    return narrow(tools, {"required": "any", "any": "any", "none": "none"}.get(str(choice), "auto"))


def schema_of(body: Object) -> Object | None:
    wanted = may(body, "response_format", dict) or {}
    if wanted.get("type") == "json_schema":
        schema = need(wanted, "json_schema", dict).get("schema")
        return schema if isinstance(schema, Mapping) else {}
    return {} if wanted.get("type") == "json_object" else None


def read_completion(call: Call) -> Prompt:
    body = call.body
    given = body.get("prompt", "")
    text = given if isinstance(given, str) else " ".join(map(str, given))
    prompts = sum(not isinstance(one, int) for one in given) if isinstance(given, list) else 1
    return Prompt(
        model=need(body, "model", str),
        said=(Said("user", text),),
        cap=cap_of(body, "max_tokens"),
        input_tokens=count(text) + count(may(body, "suffix", str) or ""),
        stream=bool(body.get("stream")),
        include_usage=bool((may(body, "stream_options", dict) or {}).get("include_usage")),
        n=choices_of(body) * (prompts or 1),
        body=body,
    )


def read_embedding(call: Call) -> Prompt:
    inputs = embedding.texts_of(call.body.get("input"))
    model = need(call.body, "model", str)
    return Prompt(model, input_tokens=sum(map(embedding.size, inputs)), body=call.body)


def read_model(call: Call) -> Prompt:
    return Prompt(call.path.get("model", ""))


# --- replies


def usage_of(usage: Usage, turn: Turn) -> Object:
    return turn.canned or {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def with_usage(reply: dict[str, Any], turn: Turn) -> dict[str, Any]:
    return reply if turn.usage is None else {**reply, "usage": usage_of(turn.usage, turn)}


def head(prompt: Prompt, turn: Turn, kind: str, prefix: str = "chatcmpl") -> dict[str, Any]:
    return {
        "id": f"{prefix}-sandbox-{turn.number}",
        "object": kind,
        "created": turn.created,
        "model": prompt.model,
        "service_tier": "default" if prompt.body.get("service_tier") in (None, "auto") else prompt.body["service_tier"],
        "system_fingerprint": "fp_sandbox",
    }


def tool_call(call: ToolCall, turn: Turn, place: int, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": f"call_{turn.number}_{place}", "type": "function", "function": function}


def chat(prompt: Prompt, turn: Turn) -> Object:
    content = None if turn.calls else "".join(turn.text)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if turn.thinking:
        message["reasoning_content"] = "".join(turn.thinking)
    if turn.calls:
        message["tool_calls"] = [tool_call(call, turn, at, call.arguments) for at, call in enumerate(turn.calls)]
    choice = {"message": {**message, **turn.extra}, "logprobs": None, "finish_reason": turn.finish}
    choices = [{"index": index, **choice} for index in range(prompt.n)]
    return with_usage({**head(prompt, turn, "chat.completion"), "choices": choices}, turn)


def chat_stream(prompt: Prompt, turn: Turn) -> Iterator[Frame]:
    base = head(prompt, turn, "chat.completion.chunk")
    # Canned usage goes out unasked, as Mistral's does.
    reported = turn.usage if prompt.include_usage or turn.canned else None

    def chunk(kind: Kind, index: int, delta: Object, finish: str | None = None) -> Frame:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return Frame(kind, sse({**base, "choices": [choice], **({"usage": None} if reported else {})}))

    for index in range(prompt.n):
        yield chunk("start", index, {"role": "assistant", "content": "", "refusal": None})
    for index in range(prompt.n):
        yield from (chunk("content", index, delta) for delta in deltas(turn))
    for index in range(prompt.n):
        yield chunk("end", index, turn.extra, turn.finish)
    if reported:
        yield Frame("usage", sse({**base, "choices": [], "usage": usage_of(reported, turn)}))
    yield Frame("done", sse(b"[DONE]"))


def deltas(turn: Turn) -> Iterator[Object]:
    yield from ({"reasoning_content": token} for token in turn.thinking)
    yield from ({"content": token} for token in turn.text)
    for place, call in enumerate(turn.calls):
        yield {"tool_calls": [{"index": place, **tool_call(call, turn, place, "")}]}
        for fragment in call.fragments:
            yield {"tool_calls": [{"index": place, "function": {"arguments": fragment}}]}


def completion(prompt: Prompt, turn: Turn) -> Object:
    choice = {"text": "".join(turn.text), "logprobs": None, "finish_reason": turn.finish}
    choices = [{"index": index, **choice} for index in range(prompt.n)]
    return with_usage({**head(prompt, turn, "text_completion", "cmpl"), "choices": choices}, turn)


def fim_stream(prompt: Prompt, turn: Turn) -> Iterator[Frame]:
    return chat_stream(replace(prompt, include_usage=True), turn)  # told unasked


def completion_stream(prompt: Prompt, turn: Turn) -> Iterator[Frame]:
    base = head(prompt, turn, "text_completion", "cmpl")

    def chunk(kind: Kind, index: int, text: str, finish: str | None = None) -> Frame:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        return Frame(kind, sse({**base, "choices": [choice]}))

    for index in range(prompt.n):
        yield from (chunk("content", index, token) for token in turn.text)
        yield chunk("end", index, "", turn.finish)
    if prompt.include_usage and turn.usage:
        yield Frame("usage", sse({**base, "choices": [], "usage": usage_of(turn.usage, turn)}))
    yield Frame("done", sse(b"[DONE]"))


def embeddings(prompt: Prompt, turn: Turn) -> Object:
    dimensions = int(may(prompt.body, "dimensions", int) or embedding.DIMENSIONS)
    vectors = [embedding.vector(one, dimensions) for one in embedding.texts_of(prompt.body.get("input"))]
    encoding = prompt.body.get("encoding_format")
    data = [
        {"object": "embedding", "index": index, "embedding": embedding.encoded(values, encoding)}
        for index, values in enumerate(vectors)
    ]
    reply: dict[str, Any] = {"object": "list", "data": data, "model": prompt.model}
    if turn.usage:
        reply["usage"] = {"prompt_tokens": turn.usage.input, "total_tokens": turn.usage.input}
    return reply


def model(prompt: Prompt, turn: Turn) -> Object:
    return {"id": prompt.model, "object": "model", "created": CREATED, "owned_by": "sandbox"}


def models(prompt: Prompt, turn: Turn) -> Object:
    return {"object": "list", "data": [model(Prompt(name), turn) for name in LISTED]}


def key(prompt: Prompt, turn: Turn) -> Object:
    """What OpenRouter says of the key that asks; its list of models is for everybody."""
    return {"data": {"label": "sandbox", "limit": None, "limit_remaining": None, "usage": 0, "is_free_tier": False}}


OPENAI: Final = Wire(
    prefix="/v1",
    endpoints=(
        Endpoint("/v1/chat/completions", read_chat, chat, chat_stream),
        Endpoint("/v1/completions", read_completion, completion, completion_stream),
        Endpoint("/v1/fim/completions", read_completion, chat, fim_stream),
        Endpoint("/v1/embeddings", read_embedding, embeddings),
        Endpoint("/v1/models", read_model, models, method="GET", behaves=False),
        Endpoint("/v1/key", read_nothing, key, method="GET", behaves=False),
        Endpoint("/v1/models/{model:.+}", read_model, model, method="GET"),
    ),
    error=error,
    error_event=error_event,
    key=lambda call: bearer(call.headers),
)

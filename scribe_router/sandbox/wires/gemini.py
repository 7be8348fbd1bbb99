"""Gemini's wire under `/gemini`: generateContent, with or without a version or project before `models/`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from scribe_router.sandbox.fault import Fault, Reason
from scribe_router.sandbox.prompt import Object, Prompt, Said, Tool, measure, narrow
from scribe_router.sandbox.turn import Finish, Turn, Usage
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
)

SIGNATURE: Final = "c2FuZGJveC1zaWduYXR1cmU="
FINISH: Final[Mapping[Finish, str]] = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}

WORDS: Final[Mapping[Reason, tuple[str, str]]] = {
    "request": ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    "authentication": ("UNAUTHENTICATED", "API key not valid. Please pass a valid API key."),
    "permission": ("PERMISSION_DENIED", "The caller does not have permission"),
    "missing": ("NOT_FOUND", "The model is not found for API version v1beta."),
    "timeout": ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    "size": ("INVALID_ARGUMENT", "Request payload size exceeds the limit."),
    "rate": ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "context": (
        "INVALID_ARGUMENT",
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "content": ("INVALID_ARGUMENT", "The response was blocked due to safety: PROHIBITED_CONTENT."),
    "overloaded": ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    "server": ("INTERNAL", "An internal error has occurred."),
}


def error(fault: Fault) -> Object:
    status, words = WORDS[fault.reason]
    return {"error": {"code": fault.status, "message": fault.message or words, "status": status}}


def error_event(fault: Fault) -> bytes:
    return sse(error(fault))


# --- requests


def read_content(call: Call) -> Prompt:
    body = call.body
    need(body, "contents", list)
    system = may(body, "systemInstruction", dict) or may(body, "system_instruction", dict) or {}
    said = [Said("system", text_in(system))]
    for content in objects(body, "contents"):
        said.extend(said_in(content))
    config = may(body, "generationConfig", dict) or may(body, "generation_config", dict) or {}
    tools, must_call = tools_of(body)
    return Prompt(
        model=call.path["model"],
        said=tuple(said),
        tools=tools,
        must_call=must_call,
        schema=schema_of(config),
        cap=cap_of(config, "maxOutputTokens", "max_output_tokens"),
        input_tokens=measure(said, body.get("tools")),
        stream=call.path["verb"].startswith("stream"),
        body=body,
    )


def text_in(content: Object) -> str:
    texts = [part.get("text") for part in objects(content, "parts")]
    return "\n".join(text for text in texts if isinstance(text, str))


def said_in(content: Object) -> Iterator[Said]:
    for part in objects(content, "parts"):
        result = part.get("functionResponse") or part.get("function_response")
        if isinstance(result, Mapping):
            yield Said("tool", result_of(result.get("response")))
    if content.get("role") == "model":
        yield Said("assistant", text_in(content))
    elif text := text_in(content):
        yield Said("user", text)


def result_of(response: Any) -> str:
    """A tool's result; a wrapper around one text, which clients add because Gemini wants an object, is taken off."""
    inner = next(iter(response.values())) if isinstance(response, Mapping) and len(response) == 1 else None
    return inner if isinstance(inner, str) else json.dumps(response)


def tools_of(body: Object) -> tuple[tuple[Tool, ...], bool]:
    tools = tuple(
        Tool(need(one, "name", str), one.get("parameters") or one.get("parametersJsonSchema") or {})
        for group in objects(body, "tools")
        for name in ("functionDeclarations", "function_declarations")
        for one in objects(group, name)
    )
    config = may(body, "toolConfig", dict) or may(body, "tool_config", dict) or {}
    calling = may(config, "functionCallingConfig", dict) or may(config, "function_calling_config", dict) or {}
    mode = {"ANY": "any", "NONE": "none"}.get(str(calling.get("mode")), "auto")
    allowed = calling.get("allowedFunctionNames") or calling.get("allowed_function_names") or [None]
    return narrow(tools, mode, allowed[0])


def schema_of(config: Object) -> Object | None:
    for name in ("responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"):
        if isinstance(config.get(name), Mapping):
            return may(config, name, dict)
    kind = config.get("responseMimeType") or config.get("response_mime_type")
    return {} if kind == "application/json" else None


# --- replies


def usage_of(usage: Usage, turn: Turn) -> Object:
    """Gemini counts thoughts beside the candidates, not among them."""
    if turn.canned:
        return turn.canned
    counts = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }
    if usage.reasoning:
        counts["thoughtsTokenCount"] = usage.reasoning
    if usage.cached:
        counts["cachedContentTokenCount"] = usage.cached
    return counts


def parts(turn: Turn) -> Iterator[Object]:
    yield from ({"text": token, "thought": True} for token in turn.thinking)
    yield from ({"text": token} for token in turn.text)
    for call in turn.calls:
        yield {"functionCall": {"name": call.name, "args": call.input}, "thoughtSignature": SIGNATURE}


def whole(turn: Turn) -> list[Object]:
    found: list[Object] = [{"text": "".join(turn.thinking), "thought": True}] if turn.thinking else []
    if turn.text:
        found.append({"text": "".join(turn.text)})
    return [*found, *(part for part in parts(turn) if "functionCall" in part)]


def answer(prompt: Prompt, turn: Turn, said: list[Object], finish: str | None, usage: Usage | None) -> Object:
    candidate: dict[str, Any] = {"content": {"parts": said, "role": "model"}, "index": 0}
    if finish:
        candidate |= {"finishReason": finish, **turn.extra}
    reply = {"candidates": [candidate], "modelVersion": prompt.model, "responseId": f"sandbox-{turn.number}"}
    return {**reply, "usageMetadata": usage_of(usage, turn)} if usage else reply


def content(prompt: Prompt, turn: Turn) -> Object:
    return answer(prompt, turn, whole(turn), FINISH[turn.finish], turn.usage)


def content_stream(prompt: Prompt, turn: Turn) -> Iterator[Frame]:
    def chunk(kind: Kind, part: Object, finish: str | None = None, usage: Usage | None = None) -> Frame:
        return Frame(kind, sse(answer(prompt, turn, [part], finish, usage)))

    yield from (chunk("content", part) for part in parts(turn))
    yield chunk("end", {"text": ""}, FINISH[turn.finish], turn.usage)


def models(_: Prompt, turn: Turn) -> Object:
    methods = ["generateContent", "streamGenerateContent"]
    return {"models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in LISTED]}


GEMINI: Final = Wire(
    prefix="/gemini",
    endpoints=(
        Endpoint(
            "/gemini/{rest:(?:.*/)?}models/{model:[^:]+(?::[^:]+)*}:{verb:generateContent|streamGenerateContent}",
            read_content,
            content,
            content_stream,
        ),
        Endpoint("/gemini/{rest:(?:.*/)?}models", read_nothing, models, method="GET", behaves=False),
    ),
    error=error,
    error_event=error_event,
    key=lambda call: call.headers.get("x-goog-api-key") or call.query.get("key") or bearer(call.headers),
)

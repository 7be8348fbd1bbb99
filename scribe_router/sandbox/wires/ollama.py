"""Ollama's wire under `/ollama`: chat as NDJSON or plain, embeddings, and what it tells of its models. No keys."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from scribe_router.sandbox import embedding
from scribe_router.sandbox.fault import Fault, Reason
from scribe_router.sandbox.prompt import Object, Prompt, Role, Said, Tool, measure
from scribe_router.sandbox.turn import Finish, Turn
from scribe_router.sandbox.wire import Call, Endpoint, Frame, Wire, dumps, may, need, objects, text_of

LISTED: Final = ("echo:latest", "think:latest", "tool:latest")
DONE: Final[Mapping[Finish, str]] = {"stop": "stop", "length": "length", "tool_calls": "stop"}
ROLES: Final[Mapping[Any, Role]] = {"user": "user", "assistant": "assistant", "tool": "tool"}
DETAILS: Final = {"format": "gguf", "family": "sandbox", "parameter_size": "1B", "quantization_level": "Q4_0"}

WORDS: Final[Mapping[Reason, str]] = {
    "request": "invalid request",
    "authentication": "unauthorized",
    "permission": "forbidden",
    "missing": "model not found, try pulling it first",
    "timeout": "request timed out",
    "size": "request body too large",
    "rate": "too many requests",
    "context": "the input length exceeds the context length",
    "content": "the request was refused by the content policy",
    "overloaded": "server busy, please try again. maximum pending requests exceeded",
    "server": "llama runner process has terminated",
}


def error(fault: Fault) -> Object:
    return {"error": fault.message or WORDS[fault.reason]}


def line(record: Object) -> bytes:
    return dumps(record) + b"\n"


def error_event(fault: Fault) -> bytes:
    return line(error(fault))


# --- requests


def read_chat(call: Call) -> Prompt:
    body = call.body
    need(body, "messages", list)
    said = tuple(
        Said(ROLES.get(one.get("role"), "system"), text_of(one.get("content"))) for one in objects(body, "messages")
    )
    functions = [need(tool, "function", dict) for tool in objects(body, "tools")]
    # Ollama streams unless told not to, and a negative cap means none.
    cap = may(may(body, "options", dict) or {}, "num_predict", int)
    return Prompt(
        model=need(body, "model", str),
        said=said,
        tools=tuple(Tool(need(one, "name", str), one.get("parameters") or {}) for one in functions),
        schema=schema_of(body.get("format")),
        cap=cap if cap and cap > 0 else None,
        input_tokens=measure(said, body.get("tools")),
        stream=body.get("stream") is not False,
        body=body,
    )


def schema_of(wanted: Any) -> Object | None:
    if isinstance(wanted, Mapping):
        return wanted
    return {} if wanted == "json" else None


def read_embedding(call: Call) -> Prompt:
    inputs = embedding.texts_of(call.body.get("input"))
    return Prompt(need(call.body, "model", str), input_tokens=sum(map(embedding.size, inputs)), body=call.body)


def read_show(call: Call) -> Prompt:
    name = may(call.body, "model", str) or need(call.body, "name", str)
    return Prompt(name)


def read_tags(_: Call) -> Prompt:
    return Prompt("")


# --- replies


def moment(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")


def record(prompt: Prompt, turn: Turn, fields: Object) -> dict[str, Any]:
    message = {"role": "assistant", "content": "", **fields}
    return {"model": prompt.model, "created_at": moment(turn.created), "message": message, "done": False}


def final(prompt: Prompt, turn: Turn, fields: Object) -> Object:
    reply = {**record(prompt, turn, fields), "done": True, "done_reason": DONE[turn.finish]}
    reply |= {"total_duration": 3_000_000, "load_duration": 1_000_000}
    if turn.usage:
        reply |= {"prompt_eval_count": turn.usage.input, "prompt_eval_duration": 1_000_000}
        reply |= {"eval_count": turn.usage.output, "eval_duration": 1_000_000, **(turn.canned or {})}
    return reply


def tool_calls(turn: Turn) -> list[Object]:
    return [
        {"id": f"call_{turn.number}_{at}", "function": {"index": at, "name": call.name, "arguments": call.input}}
        for at, call in enumerate(turn.calls)
    ]


def chat(prompt: Prompt, turn: Turn) -> Object:
    fields: dict[str, Any] = {"content": "".join(turn.text)}
    if turn.thinking:
        fields["thinking"] = "".join(turn.thinking)
    if turn.calls:
        fields["tool_calls"] = tool_calls(turn)
    return final(prompt, turn, fields)


def chat_stream(prompt: Prompt, turn: Turn) -> Iterator[Frame]:
    deltas: list[Object] = [{"thinking": token} for token in turn.thinking]
    deltas += [{"content": token} for token in turn.text]
    deltas += [{"tool_calls": tool_calls(turn)}] if turn.calls else []
    yield from (Frame("content", line(record(prompt, turn, delta))) for delta in deltas)
    yield Frame("end", line(final(prompt, turn, {})))


def embed(prompt: Prompt, turn: Turn) -> Object:
    dimensions = may(prompt.body, "dimensions", int) or embedding.DIMENSIONS
    vectors = [embedding.vector(one, dimensions) for one in embedding.texts_of(prompt.body.get("input"))]
    reply = {"model": prompt.model, "embeddings": vectors, "total_duration": 1_000_000, "load_duration": 1_000_000}
    return {**reply, "prompt_eval_count": turn.usage.input} if turn.usage else reply


def show(_: Prompt, turn: Turn) -> Object:
    return {
        "modelfile": "FROM sandbox",
        "parameters": "",
        "template": "{{ .System }}{{ .Tools }}{{ .Prompt }}",
        "details": DETAILS,
        "model_info": {"general.architecture": "sandbox", "sandbox.context_length": 32_768},
        "capabilities": ["completion", "tools", "thinking"],
        "modified_at": moment(turn.created),
    }


def tags(_: Prompt, turn: Turn) -> Object:
    common = {"modified_at": moment(turn.created), "size": 0, "digest": "0" * 64, "details": DETAILS}
    return {"models": [{"name": name, "model": name, **common} for name in LISTED]}


OLLAMA: Final = Wire(
    prefix="/ollama",
    endpoints=(
        Endpoint("/ollama/api/chat", read_chat, chat, chat_stream),
        Endpoint("/ollama/api/embed", read_embedding, embed),
        Endpoint("/ollama/api/show", read_show, show, behaves=False),
        Endpoint("/ollama/api/tags", read_tags, tags, method="GET", behaves=False),
    ),
    error=error,
    error_event=error_event,
    key=None,
    stream_type="application/x-ndjson",
)

"""The table: what is asked, of which sandbox model, and what everybody has to say to it."""

import json
from dataclasses import dataclass, field
from typing import Any

TEXT = "hello big world"
MESSAGES = [{"role": "user", "content": TEXT}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": PARAMETERS}}
    for name in ("weather", "news")
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}
CALLED = ("weather", json.dumps({"city": TEXT}))

Row = tuple[str, str | None]  # outcome, mark
Error = tuple[int, str, str]  # status, type, code


@dataclass(frozen=True)
class Case:
    """`extra` are fields of the request. Of an answer: `content`, `finish`, `tokens` (in, out) of each choice, and how
    the row is marked. Of an error: what it is, plain and in a stream, or the code that interrupts a running stream."""

    name: str
    model: str
    extra: dict[str, Any] = field(default_factory=dict)
    content: str | None = TEXT
    reasoning: str | None = None
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = "stop"
    choices: int = 1
    tokens: tuple[int, int] | None = (3, 3)
    cached: int = 0
    mark: str = "computed"
    error: Error | None = None
    stream_error: Error | None = None
    interrupted: str | None = None
    row: Row | None = None
    stream_row: Row | None = None


def refused(name: str, error: Error, outcome: str, mark: str = "zero", **more: Any) -> Case:
    """A case that ends in the same error, plain and in a stream."""
    return Case(name, name, error=error, stream_error=error, row=(outcome, mark), stream_row=(outcome, mark), **more)


def upstream(code: str) -> Error:
    return 502, "upstream_error", code


INVALID = (400, "invalid_request_error")
THOUGHTS = "step-1 step-2 step-3 "

ANSWERS = [
    Case("echo", "echo"),
    Case("unicode", "echo", {"messages": [{"role": "user", "content": "naïve 漢字 👩‍🚀"}]}, content="naïve 漢字 👩‍🚀"),
    Case("think", "think-3", reasoning=THOUGHTS, tokens=(3, 6)),
    Case("tool", "tool", {"tools": TOOLS}, content=None, calls=(CALLED,), finish="tool_calls", tokens=(35, 5)),
    Case(
        "two tools",
        "tools-2",
        {"tools": TOOLS},
        content=None,
        calls=(CALLED, ("news", CALLED[1])),
        finish="tool_calls",
        tokens=(35, 10),
    ),
    Case("json schema", "echo", {"response_format": FORMAT}, content=json.dumps({"name": TEXT}), tokens=(3, 4)),
    Case("two choices", "echo", {"n": 2}, choices=2, tokens=(3, 6)),
    Case("usage", "usage-1000-200+cached-500", tokens=(1000, 200), cached=500),
    Case("length", "long-4096", {"max_tokens": 7}, content="word " * 7, finish="length", tokens=(3, 7)),
    Case("long", "long-4096", {"max_tokens": 300}, content="word " * 300, finish="length", tokens=(3, 300)),
    Case("no usage", "no-usage", tokens=None, mark="bound"),
    Case("empty", "empty", content="", tokens=(3, 0)),
    Case("no done", "no-done"),
]
FAILURES = [
    refused("error-400", (*INVALID, "invalid_request"), "bad_request"),
    refused("error-401", upstream("upstream_authentication"), "authentication"),
    refused("error-403", upstream("upstream_authentication"), "authentication"),
    refused("error-404", upstream("not_found"), "not_found"),
    refused("error-408", upstream("timeout"), "timeout"),
    refused("error-413", (*INVALID, "context_length_exceeded"), "context_length"),
    refused("error-422", (*INVALID, "invalid_request"), "bad_request"),
    refused("error-429", (429, "rate_limit_error", "upstream_rate_limited"), "rate_limit"),
    refused("error-500", upstream("server"), "server"),
    refused("error-503", upstream("server"), "server"),
    refused("error-529", (429, "rate_limit_error", "upstream_rate_limited"), "rate_limit"),
    refused("error-context", (*INVALID, "context_length_exceeded"), "context_length"),
    refused("error-content", (*INVALID, "content_filter"), "content_policy"),
    refused("html-502", upstream("server"), "server"),
    refused("refuse", upstream("network"), "network", "doubt"),
    refused("cut-after-0", upstream("network"), "network", "doubt"),
    Case(
        "garbage",
        "garbage",
        error=upstream("server"),
        row=("server", "doubt"),
        stream_error=upstream("stream"),
        stream_row=("stream", "bound"),
    ),
    Case(
        "cut-after-2",
        "cut-after-2",
        error=upstream("network"),
        row=("network", "doubt"),
        interrupted="hello big ",
        stream_row=("stream", "bound"),
    ),
    Case("no-end", "no-end", interrupted=TEXT, stream_row=("stream", "bound")),
    Case(
        "error-mid-2",
        "error-mid-2",
        interrupted="hello big ",
        stream_row=("stream", "bound"),
    ),
]
CASES = [*ANSWERS, *FAILURES]

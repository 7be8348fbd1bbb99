"""A thousand requests for each route that nobody would think of: none is a fault, and without a key none is answered.

The proxy publishes no schema of bodies, so this one is written here: what clients send, and in each place anything.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from tests.server.test_access import CASES, configuration
from tests.support.served import served
from tests.support.yaml_text import registry_from

MASTER = "sk-test-0123456789-abcdefghij"
EXAMPLES = 1_000
ANY: dict[str, Any] = {}
TEXT, FLAG, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "number"}


def either(likely: dict[str, Any]) -> dict[str, Any]:
    """What it should be, or anything."""
    return {"anyOf": [likely, ANY]}


def listed(each: dict[str, Any], most: int = 3) -> dict[str, Any]:
    return {"type": "array", "items": each, "maxItems": most}


def record(needed: dict[str, Any], **more: Any) -> dict[str, Any]:
    properties = {name: either(each) for name, each in {**needed, **more}.items()}
    return {"type": "object", "properties": properties, "required": list(needed)}


def named(*names: str) -> dict[str, Any]:
    return {"enum": list(names)}


PART = record({"type": named("text", "image_url", "input_audio", "file")}, text=TEXT, image_url=ANY, file=ANY)
CALL = record({"id": TEXT, "type": named("function"), "function": record({"name": TEXT, "arguments": TEXT})})
MESSAGE = record(
    {"role": named("user", "assistant", "system", "developer", "tool")},
    content={"anyOf": [TEXT, listed(PART), {"type": "null"}]},
    tool_calls=listed(CALL),
    tool_call_id=TEXT,
    reasoning_content=TEXT,
)
TOOL = record({"type": named("function", "mcp")}, function=record({"name": TEXT}, parameters=ANY), server_label=TEXT)
SAMPLED = {
    "stream": FLAG,
    "max_tokens": {"type": "integer"},
    "temperature": NUMBER,
    "n": {"type": "integer"},
    "stop": ANY,
}
OURS = {
    "optimize_for": TEXT, "mcp_tools": ANY, "fallback_enabled": FLAG, "provider": TEXT, "reasoning_effort": TEXT,
    "thinking_budget": {"type": "integer"}, "hide_thinking": FLAG, "enable_search": FLAG, "user": TEXT,
    "metadata": record({}, task=TEXT, experiment_unit=TEXT, tags=listed(TEXT)),
}  # fmt: skip
CHAT = {"tools": listed(TOOL), "tool_choice": ANY, "response_format": ANY, "stream_options": ANY, "thinking": ANY}
BODIES = {
    "/chat/completions": record(
        {"model": named("echo", "other", "fast", "both", "auto"), "messages": listed(MESSAGE)},
        **SAMPLED,
        **OURS,
        **CHAT,
    ),
    "/completions": record({"model": named("echo"), "prompt": TEXT}, suffix=TEXT, **SAMPLED, **OURS),
    "/embeddings": record({"model": named("vectors"), "input": TEXT}, dimensions={"type": "integer"}, **OURS),
    "/experiments/outcome": record({"request_id": TEXT, "success": FLAG}, score=NUMBER),
    "/admin/keys": record({"name": TEXT, "models": listed(TEXT)}, fields=ANY, addresses=ANY, expires=ANY, limits=ANY),
    "/admin/keys/{name}/rotate": record({}, grace=ANY),
    "/admin/keys/{name}/revoke": record({}),
}
QUERIES = {"/admin/spend": ("by", "since", "format"), "/admin/exchanges/{identity}": ("format",)}
ROUTES = [route for route in CASES["routes"] if not route.startswith("HEAD")]


def document() -> dict[str, Any]:
    """OpenAPI for every route of the table."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        method, _, path = route.partition(" ")
        path = path.replace(":path", "")
        places = [("path", name, True) for name in re.findall(r"\{(\w+)\}", path)]
        places += [("query", name, False) for name in QUERIES.get(path, ())]
        places += [("header", name, False) for name in ("x-scribe-explain", "cache-control", "x-forwarded-for")]
        found: dict[str, Any] = {"responses": {"default": {"description": "any"}}}
        found["parameters"] = [{"in": p, "name": n, "required": needed, "schema": TEXT} for p, n, needed in places]
        if method == "POST":
            schema = either(BODIES[path.removeprefix("/v1")])
            found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths.setdefault(path, {})[method.lower()] = found
    return {"openapi": "3.1.0", "info": {"title": "the proxy", "version": "1"}, "paths": paths}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("schemathesis")
    with running_sandbox() as sandbox:
        text, policies = configuration(sandbox.url)
        policies["store"] = f"ledger: sqlite:{folder}/ledger.db\naudit: {folder}/audit.jsonl\njournal: ''"
        with served(Router(registry_from(folder, text, policies, {"MASTER": MASTER}))) as found:
            yield found


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("route", ROUTES)
def test_no_fault_and_no_answer_without_a_key(url: str, route: str) -> None:
    method, _, path = route.partition(" ")
    operation = schemathesis.openapi.from_dict(document())[path.replace(":path", "")][method]
    is_open = CASES["routes"][route] == "open"

    with httpx.Client(base_url=url, timeout=60) as client:

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate], derandomize=True,
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url=url)
            asked = client.build_request(
                method, sent["url"], params=sent.get("params"), json=sent.get("json"), headers=dict(sent["headers"])
            )
            bare = client.send(asked)
            assert (bare.status_code == 401) is not is_open, bare.text
            asked.headers["authorization"] = f"Bearer {MASTER}"
            answer = client.send(asked)
            assert answer.status_code < 500 or is_open, answer.text

        check()

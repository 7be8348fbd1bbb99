"""policies/mcp.yaml: which tools there are, who may use them, and what a call is settled at."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scribe_router.errors import InvalidRequest
from scribe_router.policies.access import MASTER
from scribe_router.policies.mcp import Listed, McpPolicy, McpServer, catalogue, fingerprint, settled
from scribe_router.policies.tool_requests import MOST_NAMES, Wanted, asked_servers, chosen, permitted, wanted
from scribe_router.principals import LOCAL, Grant, Principal

HTTP = {"url": "http://127.0.0.1:1/mcp"}
POLICY = McpPolicy.model_validate(
    {
        "servers": {
            "search": {**HTTP, "prices": {"web": "0.001", "news": "free", "maps": "refuse"}},
            "files": {**HTTP, "price": "0.0005", "tools": ["read_*"]},
        },
        "groups": {
            "reading": {"tools": ["files"], "teams": ["analysts"]},
            "news": {"tools": ["search__news"], "keys": ["*"]},
            "web": {"tools": ["search__w*"], "keys": ["ann"]},
        },
    }
)
LISTINGS = {
    "search": [Listed(name, "", {}) for name in ("web", "news", "maps", "unpriced")],
    "files": [Listed(name, "", {}) for name in ("read_file", "write_file")],
}
TOOLS = list(catalogue(POLICY, LISTINGS).values())


def test_only_tools_with_a_price_are_there() -> None:
    assert {tool.place: tool.fee for tool in TOOLS} == {
        "search__web": 1_000_000,
        "search__news": 0,
        "files__read_file": 500_000,
    }


@pytest.mark.parametrize(
    ("who", "places"),
    [
        (MASTER, ["search__web", "search__news", "files__read_file"]),
        (LOCAL, ["search__web", "search__news", "files__read_file"]),
        (Principal("bob", ""), ["search__news"]),
        (Principal("ann", ""), ["search__web", "search__news"]),
        (Principal("bob", "", "analysts"), ["search__news", "files__read_file"]),
        (Principal("bob", "", "others"), ["search__news"]),
        (Principal("bob", "", grant=Grant(tools=("search__web",))), ["search__web", "search__news"]),
        (Principal("bob", "", grant=Grant(tools=("files",))), ["search__news", "files__read_file"]),
        (Principal("bob", "", grant=Grant(mcp_groups=("reading",))), ["search__news", "files__read_file"]),
        (Principal("bob", "", grant=Grant(mcp_groups=("other",))), ["search__news"]),
    ],
)
def test_who_may_use_what(who: Principal, places: list[str]) -> None:
    assert [tool.place for tool in permitted(POLICY, TOOLS, who)] == places


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"mcp_tools": ["search__web"]}, ["search__web"]),
        ({"mcp_tools": ["search"]}, ["search__web", "search__news"]),
        ({"mcp_tools": ["reading"]}, ["files__read_file"]),
        ({"mcp_tools": ["search__*", "search__web"]}, ["search__web", "search__news"]),
        ({"mcp_tools": ["*"]}, ["search__web", "search__news", "files__read_file"]),
        ({"tools": [{"type": "mcp", "server_label": "files"}]}, ["files__read_file"]),
        ({"tools": [{"type": "mcp", "server_label": "search", "allowed_tools": ["news"]}]}, ["search__news"]),
        (
            {"tools": [{"type": "mcp", "server_label": "search", "allowed_tools": {"tool_names": ["web"]}}]},
            ["search__web"],
        ),
        ({}, []),
    ],
)
def test_what_a_request_asks_for(body: dict[str, Any], places: list[str]) -> None:
    asked = wanted("chat", body)
    assert bool(asked) is bool(places)
    assert [tool.place for tool in chosen(POLICY, asked, TOOLS)] == places
    assert {place.partition("__")[0] for place in places} <= set(asked_servers(POLICY, asked, LOCAL))


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (
            {"mcp_tools": ["serch"]},
            "there is no MCP tool, server or group serch that this request may use, did you mean search?",
            "mcp_tools",
        ),
        ({"mcp_tools": "search"}, "mcp_tools must be a list of names", "mcp_tools"),
        ({"mcp_tools": [7]}, "mcp_tools must be a list of names", "mcp_tools"),
        (
            {"mcp_tools": ["search"] * (MOST_NAMES + 1)},
            "201 MCP tools are asked for by name, at most 200 can be; a group or a server is one",
            "mcp_tools",
        ),
        (
            {"tools": [{"type": "mcp"}]},
            "tools[0].server_label must name an MCP server of this router",
            "tools[0].server_label",
        ),
        (
            {"mcp_tools": ["search__maps"]},
            "there is no MCP tool, server or group search__maps that this request may use, did you mean search__news?",
            "mcp_tools",
        ),
        (
            {"mcp_tools": ["*"], "tools": [{"type": "function", "function": {"name": "search__web"}}]},
            "search__web is a tool of the request and an MCP tool; give yours another name",
            "tools",
        ),
    ],
)
def test_what_a_request_cannot_ask_for(body: dict[str, Any], message: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chosen(POLICY, wanted("chat", body), TOOLS)
    assert (refused.value.message, refused.value.param) == (message, param)


@pytest.mark.parametrize(
    ("who", "servers"),
    [
        (LOCAL, ["search", "files"]),
        (Principal("bob", ""), ["search"]),
        (Principal("bob", "", "analysts"), ["search", "files"]),
        (Principal("bob", "", grant=Grant(tools=("files__read_file",))), ["search", "files"]),
    ],
)
def test_a_server_of_which_somebody_may_use_nothing_is_not_asked(who: Principal, servers: list[str]) -> None:
    for body in ({"mcp_tools": ["*"]}, {"mcp_tools": ["search", "files"]}, {"mcp_tools": ["search", "reading"]}):
        assert asked_servers(POLICY, wanted("chat", body), who) == servers


def test_what_is_not_tracked_is_free_or_not_there() -> None:
    tools = catalogue(POLICY.model_copy(update={"tracking": False}), LISTINGS)
    assert [tool.place for tool in tools.values()] == ["search__news"]


def test_a_server_of_the_clients_is_for_the_provider() -> None:
    theirs = {"type": "mcp", "server_label": "search", "server_url": "https://elsewhere/mcp"}
    assert wanted("chat", {"tools": [theirs]}) == Wanted((), (theirs,))


def test_tools_are_for_chats() -> None:
    with pytest.raises(InvalidRequest, match="mcp_tools is for chat completions"):
        wanted("embeddings", {"mcp_tools": ["*"]})


ROW = {"price": "0.001"}


@pytest.mark.parametrize(
    ("row", "outcome", "reported", "cost", "mark"),
    [
        (ROW, "answered", None, 1_000_000, "computed"),
        (ROW, "answered", 7, 1_000_000, "computed"),
        (ROW, "failed", None, 1_000_000, "computed"),
        (ROW, "timeout", None, 1_000_000, "doubt"),
        (ROW, "lost", None, 1_000_000, "doubt"),
        (ROW, "not_connected", None, 0, "zero"),
        ({**ROW, "failed": "free"}, "failed", None, 0, "zero"),
        ({**ROW, "failed": "free"}, "timeout", None, 0, "zero"),
        ({**ROW, "failed": "free"}, "answered", None, 1_000_000, "computed"),
        ({**ROW, "reported": True}, "answered", 7, 7, "reported"),
        ({**ROW, "reported": True}, "answered", 0, 0, "reported"),
        ({**ROW, "reported": True}, "answered", 5_000_000, 1_000_000, "reported"),
        ({**ROW, "reported": True}, "failed", 7, 7, "reported"),
        ({**ROW, "reported": True}, "timeout", 7, 1_000_000, "doubt"),
        ({**ROW, "reported": True}, "answered", None, 1_000_000, "computed"),
    ],
)
def test_what_a_call_is_settled_at(row: dict[str, Any], outcome: Any, reported: Any, cost: int, mark: str) -> None:
    server = McpServer.model_validate({**HTTP, **row})
    fee = server.fee("any")
    assert fee == 1_000_000
    assert settled(server, fee, outcome, reported) == (cost, mark)


@pytest.mark.parametrize(
    ("row", "fees"),
    [
        ({}, {"a": None}),
        ({"price": "free"}, {"a": 0}),
        ({"price": 0.25, "prices": {"a": "refuse"}}, {"a": None, "b": 250_000_000}),
        (
            {"mcp_server_cost_info": {"default_cost_per_query": 0.01, "tool_name_to_cost_per_query": {"a": 0.05}}},
            {"a": 50_000_000, "b": 10_000_000},
        ),
        ({"mcp_server_cost_info": {"tool_name_to_cost_per_query": {"a": 0}}}, {"a": 0, "b": None}),
    ],
)
def test_what_a_call_costs_at_most(row: dict[str, Any], fees: dict[str, int | None]) -> None:
    server = McpServer.model_validate({**HTTP, **row})
    assert {tool: server.fee(tool) for tool in fees} == fees


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({}, "a server has a command or a url"),
        ({**HTTP, "command": "x"}, "a server has a command or a url"),
        ({**HTTP, "arguments": ["x"]}, "arguments, environment and folder belong to a command"),
        ({"command": "x", "headers": {"a": "b"}}, "headers belong to a url"),
        ({**HTTP, "price": "free", "mcp_server_cost_info": {}}, "prices are said once"),
        ({**HTTP, "price": "cheap"}, "price"),
        ({**HTTP, "price": -1}, "price"),
    ],
)
def test_what_is_no_server(server: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        McpServer.model_validate(server)


def test_a_name_means_one_thing() -> None:
    with pytest.raises(ValidationError, match="search is a server and a group"):
        McpPolicy.model_validate({"servers": {"search": HTTP}, "groups": {"search": {"tools": ["search"]}}})


@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=30, unique=True))
def test_models_see_names_that_every_provider_takes_and_no_two_are_the_same(names: list[str]) -> None:
    policy = McpPolicy.model_validate({"servers": {"s": {**HTTP, "price": "free"}}})
    tools = catalogue(policy, {"s": [Listed(name, "", {}) for name in names]})
    assert sorted(tool.name for tool in tools.values()) == sorted(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", function) for function in tools)


def test_arguments_are_the_same_in_any_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})

"""What a request asks for of the MCP tools, and who may use which of them. Pure.

Knows names, groups and grants; never what a tool costs, nor how it is run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Api
from scribe_router.names import did_you_mean
from scribe_router.policies.mcp import BETWEEN, McpPolicy, Tool
from scribe_router.principals import Principal

EVERYBODY = "*"
MOST_NAMES = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for: names (tools, servers, groups, `*`), each with the field that it came from; and the
    request's own tools, without ours."""

    names: tuple[tuple[str, str], ...]
    own: tuple[Any, ...]

    def __bool__(self) -> bool:
        return bool(self.names)


def wanted(api: Api, body: Mapping[str, Any]) -> Wanted:
    """What a request asks for, in `mcp_tools` or as `tools: [{type: mcp, server_label: ...}]`. An entry with a
    `server_url` of its own is for the provider, and stays."""
    names = [(each, "mcp_tools") for each in _texts(body.get("mcp_tools"), "mcp_tools")]
    if api != "chat":
        if names:
            raise InvalidRequest("mcp_tools is for chat completions", code="invalid_value", param="mcp_tools")
        return Wanted((), ())
    own = []
    for index, tool in enumerate(body.get("tools") or ()):
        if isinstance(tool, Mapping) and tool.get("type") == "mcp" and not {"server_url", "connector_id"} & tool.keys():
            names += [(each, f"tools[{index}]") for each in _labelled(tool, f"tools[{index}]")]
        else:
            own.append(tool)
    if len(names) > MOST_NAMES:
        text = f"{len(names)} MCP tools are asked for by name, at most {MOST_NAMES} can be; a group or a server is one"
        raise InvalidRequest(text, code="invalid_value", param=names[-1][1])
    return Wanted(tuple(names), tuple(own))


def _labelled(tool: Mapping[str, Any], place: str) -> Iterator[str]:
    label, allowed = tool.get("server_label"), tool.get("allowed_tools")
    if not isinstance(label, str) or not label:
        text = f"{place}.server_label must name an MCP server of this router"
        raise InvalidRequest(text, code="invalid_value", param=f"{place}.server_label")
    if isinstance(allowed, Mapping):
        allowed = allowed.get("tool_names")
    if allowed is None:
        yield label
    else:
        yield from (f"{label}{BETWEEN}{each}" for each in _texts(allowed, f"{place}.allowed_tools"))


def _texts(value: Any, place: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise InvalidRequest(f"{place} must be a list of names", code="invalid_type", param=place)
    return value


def asked_servers(policy: McpPolicy, asked: Wanted, who: Principal) -> list[str]:
    """The servers whose tools a request can mean. One of which somebody may use nothing is not even asked: whether it
    is there is not told."""
    patterns = {
        each for name, _ in asked.names for each in (policy.groups[name].tools if name in policy.groups else (name,))
    }
    meant, open_to = _servers(policy, patterns), _servers(policy, _granted(policy, who))
    return [server for server in meant if server in open_to]


def _servers(policy: McpPolicy, patterns: Iterable[str]) -> list[str]:
    starts = {pattern.partition(BETWEEN)[0] for pattern in patterns}
    return [server for server in policy.servers if any(fnmatchcase(server, start) for start in starts)]


def permitted(policy: McpPolicy, tools: Iterable[Tool], who: Principal) -> list[Tool]:
    """The tools that somebody may use: those that the key itself names, and those of groups that it names, or that name
    the key, its team or everybody."""
    patterns = _granted(policy, who)
    return [tool for tool in tools if any(_covers(pattern, tool) for pattern in patterns)]


def _granted(policy: McpPolicy, who: Principal) -> list[str]:
    patterns = list(who.grant.tools)
    for name, group in policy.groups.items():
        invited = who.name in group.keys or (who.team and who.team in group.teams)
        if invited or EVERYBODY in (*group.keys, *group.teams) or {name, EVERYBODY} & set(who.grant.mcp_groups):
            patterns += group.tools
    return patterns


def chosen(policy: McpPolicy, asked: Wanted, tools: Sequence[Tool]) -> list[Tool]:
    """The tools that a request asks for, of those that it may use, each once.

    Raises `InvalidRequest` with the nearest name: whether there is a tool of that name that others may use is not told.
    """
    found: dict[str, Tool] = {}
    for name, place in asked.names:
        patterns = policy.groups[name].tools if name in policy.groups else (name,)
        matching = [tool for tool in tools if name == EVERYBODY or any(_covers(each, tool) for each in patterns)]
        if not matching and name != EVERYBODY:
            known = sorted({*(tool.place for tool in tools), *(tool.server for tool in tools)})
            text = f"there is no MCP tool, server or group {name[:100]} that this request may use"
            raise InvalidRequest(f"{text}{did_you_mean(name, known)}", code="unknown_tool", param=place)
        found.update((tool.function, tool) for tool in matching)
    _check_distinct(found, asked.own)
    return list(found.values())


def _check_distinct(found: Mapping[str, Tool], own: Iterable[Any]) -> None:
    for tool in own:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if name in found:
            text = f"{name} is a tool of the request and an MCP tool; give yours another name"
            raise InvalidRequest(text, code="duplicate_tool", param="tools")


def _covers(pattern: str, tool: Tool) -> bool:
    return pattern in (EVERYBODY, tool.server) or fnmatchcase(tool.place, pattern)

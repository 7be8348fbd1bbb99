"""What an operator asks about MCP servers: their tools and prices, whether the policy fits them, and one call.

Knows the policy and sessions; never how a command is typed.
"""

import time
from collections.abc import Iterable
from fnmatch import fnmatchcase

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Exchange, Json, ToolCall
from scribe_router.money import usd
from scribe_router.names import did_you_mean
from scribe_router.policies.mcp import BETWEEN, Listed, McpPolicy, Tool, catalogue, fingerprint
from scribe_router.reports.spend import aligned
from scribe_router.tools.accounts import ToolAccounts
from scribe_router.upstream.mcp_results import ToolReply
from scribe_router.upstream.mcp_sessions import McpSessions

Listings = dict[str, list[Listed]]


async def asked(policy: McpPolicy) -> tuple[Listings, dict[str, str]]:
    """What every server lists, and why others do not. Sessions are ended again."""
    sessions = McpSessions(policy)
    try:
        return await sessions.listed(policy.servers)
    finally:
        await sessions.aclose()


def table(policy: McpPolicy, listings: Listings) -> str:
    """Each tool with its price, and those that nobody may use."""
    usable = {tool.place: tool for tool in catalogue(policy, listings).values()}
    rows: list[tuple[str, ...]] = [("tool", "usd per call", "description")]
    for server, tools in listings.items():
        for each in tools:
            place = f"{server}{BETWEEN}{each.name}"
            price = _price(usable[place]) if place in usable else "refused"
            rows.append((place, price, " ".join(each.description.split())[:60]))
    return aligned(rows, 3)


def _price(tool: Tool) -> str:
    return usd(tool.fee) if tool.fee else "free"


def problems(policy: McpPolicy, listings: Listings, away: dict[str, str]) -> list[str]:
    """What the policy says of tools that are not there, and servers that do not answer; one line each."""
    found = list(away.values())
    places = {f"{server}{BETWEEN}{each.name}" for server, tools in listings.items() for each in tools}
    for server, tools in listings.items():
        row, names = policy.servers[server], [each.name for each in tools]
        theirs = row.mcp_server_cost_info.tool_name_to_cost_per_query if row.mcp_server_cost_info else row.prices
        found += [
            f"servers.{server}: it has no tool {name} that a price could be for{did_you_mean(name, names)}"
            for name in theirs
            if name not in names
        ]
        found += [f"servers.{server}.tools: nothing matches {p}" for p in _unmatched(row.tools, names)]
        found += [f"servers.{server}: {name} has no price, so it is refused" for name in names if row.fee(name) is None]
    known = {*places, *listings}
    for name, group in policy.groups.items():
        here = [each for each in group.tools if each.partition(BETWEEN)[0] not in away]
        found += [f"groups.{name}.tools: nothing matches {p}{did_you_mean(p, known)}" for p in _unmatched(here, known)]
    return found


def _unmatched(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    there = list(names)
    return [each for each in patterns if not any(fnmatchcase(name, each) for name in there)]


async def call(policy: McpPolicy, accounts: ToolAccounts, exchange: Exchange, name: str, arguments: Json) -> ToolReply:
    """Call one tool as an operator; it is reserved and recorded like any other. Raises `InvalidRequest` and
    `BudgetExceeded`."""
    sessions = McpSessions(policy)
    try:
        listings, away = await sessions.listed(policy.servers.keys() & {name.partition(BETWEEN)[0]})
        tools = {tool.place: tool for tool in catalogue(policy, listings).values()}
        if name not in tools:
            why = next(iter(away.values()), None)
            raise InvalidRequest(why or f"there is no tool {name} that may be called{did_you_mean(name, tools)}")
        tool = tools[name]
        one = ToolCall("", tool.server, tool.name, tool.function, fingerprint(arguments), tool.fee, time.time())
        await accounts.reserve(exchange, [one])
        reply = ToolReply("lost", "")
        try:
            reply = await sessions.call(tool, arguments)
        finally:
            accounts.settle(one, reply.outcome, reply.reported)
        return reply
    finally:
        await sessions.aclose()

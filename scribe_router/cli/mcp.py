"""`scribe-router mcp`: arguments in, text out."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scribe_router.cli.options import Config, EnvFile, Policies, fail, group, registry

mcp = group("Look at the MCP servers of policies/mcp.yaml, and call their tools.")


@mcp.command("list")
def list_(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """List the tools of every server, with the price of a call. Exits with 1 where a server does not answer."""
    import asyncio

    from scribe_router.tools import report

    policy = _policy(config, policies, env_file)
    listings, away = asyncio.run(report.asked(policy))
    typer.echo(report.table(policy, listings))
    for line in away.values():
        typer.echo(line, err=True)
    raise typer.Exit(int(bool(away)))


@mcp.command("check")
def check(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Ask every server for its tools, and say what in policies/mcp.yaml does not fit them: one line each.

    Exits with 1 when something has to be done.
    """
    import asyncio

    from scribe_router.tools import report

    policy = _policy(config, policies, env_file)
    listings, away = asyncio.run(report.asked(policy))
    found = report.problems(policy, listings, away)
    for line in found:
        typer.echo(line, err=True)
    if found:
        raise typer.Exit(1)
    typer.echo(f"ok: {sum(map(len, listings.values()))} tools of {len(listings)} servers")


@mcp.command("call")
def call(
    tool: Annotated[str, typer.Argument(help="server__tool, as `mcp list` shows it.")],
    arguments: Annotated[str, typer.Argument(help="A JSON object; - reads it from standard input.")] = "{}",
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Call one tool and print what a model would be told. It costs what it costs, and is in the ledger.

    Exits with 1 when the call failed.
    """
    import asyncio

    from scribe_router.errors import ScribeError

    given = _arguments(arguments)
    found = registry(config, policies, env_file, sandbox=False)
    _check(found.mcp)
    try:
        outcome, text, cost = asyncio.run(_call(found, tool, given))
    except ScribeError as error:
        fail(error)
    typer.echo(text)
    typer.echo(f"{outcome}, {cost} usd", err=True)
    raise typer.Exit(int(outcome != "answered"))


async def _call(found: Any, tool: str, given: dict[str, Any]) -> tuple[str, str, str]:
    """(outcome, text, what it cost in USD)"""
    import time

    from scribe_router.accounts import Accounts
    from scribe_router.exchange import Call, Exchange
    from scribe_router.money import usd
    from scribe_router.principals import LOCAL
    from scribe_router.stores import open_ledger
    from scribe_router.tools import report
    from scribe_router.tools.accounts import ToolAccounts

    ledger = open_ledger(found.store.url, found.store.durability)
    try:
        accounts = Accounts(ledger, found.budgets, time.time, needs_ledger=found.needs_ledger)
        exchange = Exchange("ex-mcp-call", Call("chat", {}), LOCAL, found.version, time.time())
        reply = await report.call(found.mcp, ToolAccounts(accounts, found.mcp, time.time), exchange, tool, given)
        await ledger.flush()
        return reply.outcome, reply.text, usd(exchange.tool_cost or 0)
    finally:
        ledger.close()


def _policy(config: Path | None, policies: Path | None, env_file: Path | None) -> Any:
    policy = registry(config, policies, env_file, sandbox=False).mcp
    _check(policy)
    return policy


def _check(policy: Any) -> None:
    if not policy.servers:
        fail("no MCP server is configured; write policies/mcp.yaml, docs/mcp.md shows how")
    if not policy.enabled:
        fail("MCP tools are switched off: `enabled` of policies/mcp.yaml")


def _arguments(text: str) -> dict[str, Any]:
    import sys

    try:
        given = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        fail(f"the arguments are no JSON: {error}")
    if not isinstance(given, dict):
        fail('the arguments are no JSON object, such as {"query": "router"}')
    return given

"""`scribe-router keys`: virtual keys. Arguments in, text out; `issuer` does the work, and writes the audit log."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from scribe_router.cli.options import Config, EnvFile, Policies, caller, fail, group, registry
from scribe_router.errors import RequestError, ScribeError

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The key's name, or its id.")]
By = Annotated[str | None, typer.Option(help="Who, for the audit log; default: the name that you are logged in by.")]
Several = list[str] | None

keys = group(
    "Virtual keys: who may call, and what each may. They are in the ledger's store, so every proxy that shares it "
    "knows them. Exit code 0: done; 1: a problem, said in one line."
)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What ledger, limits and audit log call it; it stays for good.")],
    model: Annotated[list[str], typer.Option(help="Model, group or alias, or a pattern with one *; repeat it.")],
    user: Annotated[str, typer.Option(help="Whom its money is charged to; default: its name.")] = "",
    team: Annotated[str, typer.Option(help="The team that it counts against.")] = "",
    expires: Annotated[str | None, typer.Option(help="90d, 12h, or a day such as 2027-01-31 (UTC).")] = None,
    field: Annotated[
        Several, typer.Option(help="Request field of ours that it may set; repeat it. Default: access.yaml's.")
    ] = None,
    tool: Annotated[Several, typer.Option(help="Tool that it may use; repeat it.")] = None,
    mcp_group: Annotated[Several, typer.Option(help="MCP access group; repeat it.")] = None,
    region: Annotated[Several, typer.Option(help="Region that it may be served in; repeat it. Default: any.")] = None,
    retention: Annotated[
        str | None, typer.Option(help="How long what serves it may keep what it is sent: zero, or days. Default: any.")
    ] = None,
    hipaa: Annotated[
        bool, typer.Option("--hipaa", help="Serve it from covered places alone, and keep nothing.")
    ] = False,
    address: Annotated[Several, typer.Option(help="Network that it must call from; repeat it. Default: any.")] = None,
    limit: Annotated[
        Several, typer.Option(help="Limit that is `named: true` and holds for this key; repeat it.")
    ] = None,
    signed: Annotated[
        bool,
        typer.Option("--signed", help="Take signed requests only; prints id and signing secret."),
    ] = False,
    by: By = None,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Make a key and print it, once: nobody can show it again."""
    asked: dict[str, Any] = {"name": name, "models": model, "user": user, "team": team, "expires": expires}
    asked |= {"fields": field, "signed": "required" if signed else "no"}
    asked |= {"tools": tool or (), "mcp_groups": mcp_group or (), "regions": region or (), "addresses": address or ()}
    kept = int(retention) if retention is not None and retention.isdecimal() else retention
    asked |= {"limits": limit or (), "retention": kept, "hipaa": hipaa}
    _tell(_run(config, policies, env_file, lambda issuer: issuer.create(asked, _actor(by))))


@keys.command("list")
def every(
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """List all keys by name, without their secrets."""
    if form not in ("table", "json"):
        fail(f"--format: table or json, not {form}")

    async def read(issuer: Any) -> list[Any]:
        return [key async for key in issuer.every()]

    found = _run(config, policies, env_file, read)
    typer.echo(json.dumps([key.described() for key in found], indent=2) if form == "json" else _table(found))


@keys.command()
def show(name: Name, config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Show what a key may, as JSON. Its secret is not kept, so it cannot be shown."""
    key = _run(config, policies, env_file, lambda issuer: issuer.show(name))
    typer.echo(json.dumps(key.described(), indent=2))


@keys.command()
def rotate(
    name: Name,
    grace: Annotated[str, typer.Option(help="How long the old secret opens still: 24h, 90m, 0.")] = "24h",
    by: By = None,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Give a key a new secret and print it, once. What the key may, and what it has spent, stays."""
    _tell(_run(config, policies, env_file, lambda issuer: issuer.rotate(name, grace, _actor(by))))


@keys.command()
def revoke(
    name: Name, by: By = None, config: Config = None, policies: Policies = None, env_file: EnvFile = None
) -> None:
    """End a key for good. Every proxy refuses it within a second."""
    key = _run(config, policies, env_file, lambda issuer: issuer.revoke(name, _actor(by)))
    typer.echo(f"ok: {key.name} opens nothing any more")


def _run(config: Any, policies: Any, env_file: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    from scribe_router.access import Access

    found = registry(config, policies, env_file, sandbox=False)
    if found.access is None:
        fail("virtual keys need policies/access.yaml; policies/access.yaml.example is one to begin with")

    async def run() -> T:
        access = Access(found, time.time, patient=True)
        try:
            return await work(access.issuer)
        finally:
            await access.aclose()

    try:
        return asyncio.run(run())
    except RequestError as error:
        fail(error.message)
    except ScribeError as error:
        fail(error)


def _tell(issued: Any) -> None:
    """The key; of one that has to sign, its id and the secret to sign with, since the key itself opens nothing."""
    typer.echo(f"{issued.key.id} {issued.signing_secret}" if issued.signing_secret else issued.text)


def _actor(by: str | None) -> Any:
    from scribe_router.audit import Actor

    return Actor(by or caller(), "command line")


def _table(found: list[Any]) -> str:
    from scribe_router.reports.spend import aligned

    head = ("name", "id", "user", "team", "models", "created", "expires", "state")
    now = time.time()
    rows = [
        (
            *(key.name, key.id, key.user or key.name, key.team, " ".join(key.models)),
            *(_day(key.created), _day(key.expires)),
            "revoked" if key.revoked else "expired" if key.expires and key.expires <= now else "open",
        )
        for key in found
    ]
    return (
        aligned([head, *rows], left=len(head)) if rows else "there is no key yet; scribe-router keys create makes one"
    )


def _day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")

"""`scribe-router privacy`: what is kept of one user. Arguments in, text out; `privacy` does the work."""

import asyncio
import sys
import time
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer

from scribe_router.cli.options import Config, EnvFile, Policies, caller, fail, group, registry
from scribe_router.errors import ScribeError

T = TypeVar("T")
User = Annotated[str, typer.Option(help="The user, as `spend --by user` shows it.")]

privacy = group(
    "What ledger, journal and keys hold of one user. Both commands work while proxies use them. Exit code 0: "
    "done; 1: a problem, said in one line."
)


@privacy.command()
def export(user: User, config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Write all that is kept of a user to standard output: JSON lines, each with its kind (key, ledger, outcome,
    journal). Amounts are whole nano-dollars, times seconds since the epoch."""
    from scribe_router import privacy as work

    count = _run(work.export(registry(config, policies, env_file, sandbox=False), user, sys.stdout))
    typer.echo(f"ok: {count} lines", err=True)


@privacy.command()
def erase(
    user: User,
    by: Annotated[
        str | None, typer.Option(help="Who, for the audit log; default: the name that you are logged in by.")
    ] = None,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Take a user out for good: its lines of the journal go, in the ledger another name stands in its place, and all
    sums and limits stay. Its keys have to be revoked before. On Redis requests wait or are refused while it runs."""
    from scribe_router import privacy as work
    from scribe_router.audit import Actor

    found = registry(config, policies, env_file, sandbox=False)
    done = _run(work.erase(found, user, Actor(by or caller(), "command line"), time.time()))
    typer.echo(f"ok: {done.rows} rows of the ledger are {done.instead}'s, {done.lines} lines of the journal are gone")
    if done.names:
        typer.echo(f"note: names of keys stay for good, in the ledger too: {', '.join(done.names)}")


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (ValueError, ScribeError) as error:
        fail(error)
    except OSError as error:
        fail(f"the journal cannot be written: {error}")

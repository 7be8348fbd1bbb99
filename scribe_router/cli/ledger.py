"""`scribe-router ledger`: the operator's commands. Arguments in, text out; `bookkeeping` does the work."""

import asyncio
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from scribe_router.cli.options import Config, EnvFile, Policies, caller, fail, group, login, registry
from scribe_router.errors import ScribeError
from scribe_router.reports.questions import WrongArgument

T = TypeVar("T")

ledger = group(
    "Look after the ledger: one row for each attempt, and counters that are a cache of them. "
    "Every command works while proxies use the ledger. Exit code 0: done; 1: a problem, said in one line."
)


@ledger.command()
def check(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Compare every counter with its rows. Exit code 1 and a line for each that differs; `rebuild` mends them."""
    from scribe_router.reports import bookkeeping

    differences = _run(bookkeeping.check(registry(config, policies, env_file, sandbox=False)))
    for line in differences:
        typer.echo(line)
    if differences:
        fail(f"{len(differences)} counters differ from their rows; scribe-router ledger rebuild mends them")
    typer.echo("ok: every counter is what its rows say")


@ledger.command()
def rebuild(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Write the counters anew from the rows, for a ledger that `check` finds wrong, or a Redis that was emptied and
    restored. Requests wait or are refused while it runs. It prints what changed."""
    from scribe_router.reports import bookkeeping

    found = registry(config, policies, env_file, sandbox=False)
    changed = _run(bookkeeping.rebuild(found))
    _audit(found, "ledger.rebuild", counters=len(changed))
    for line in changed:
        typer.echo(line)
    typer.echo(f"ok: {len(changed)} counters changed")


@ledger.command()
def export(
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    since: Annotated[str | None, typer.Option(help="From this day on (UTC), as 2026-11-20; default: all.")] = None,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Write rows to standard output, in opening order, without loading them all. Amounts are whole nano-dollars
    (1 usd = 1,000,000,000), times seconds since the epoch; objects in CSV are JSON."""
    from scribe_router.reports import bookkeeping

    _run(bookkeeping.export(registry(config, policies, env_file, sandbox=False), form, since, sys.stdout))


@ledger.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet, such as ledger-2026-11-20.sqlite3.")],
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Copy a ledger in SQLite to a file, while it is in use. Copying the file itself by hand loses what is in its
    write-ahead log. To restore: end the proxies, put the copy in the ledger's place, remove its -wal and -shm files."""
    from scribe_router.reports import bookkeeping

    _run(bookkeeping.backup(registry(config, policies, env_file, sandbox=False), file))
    typer.echo(f"ok: {file}")


@ledger.command()
def retain(
    before: Annotated[str, typer.Option(help="Fold the rows opened before this day (UTC), such as 2026-11-01.")],
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Replace old rows by one sum for each counter. Limits go on as before; `spend` and `export` no longer have those
    rows, so export them first if you want to keep them. Rows of a window that is open are refused."""
    from scribe_router.reports import bookkeeping

    found = registry(config, policies, env_file, sandbox=False)
    count = _run(bookkeeping.retain(found, before, time.time()))
    _audit(found, "ledger.retain", before=before, rows=count)
    typer.echo(f"ok: {count} rows folded")


@ledger.command()
def doubtful(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """List the attempts whose true cost never came, so that they are settled at the most that they can have cost:
    marks bound (answered without usage), doubt (sent, and the reply was lost) and swept (the process died)."""
    from scribe_router.reports import bookkeeping

    typer.echo(_run(bookkeeping.doubtful(registry(config, policies, env_file, sandbox=False))))


@ledger.command()
def release(
    attempts: Annotated[list[str], typer.Argument(help="Ids from `ledger doubtful`.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")],
    by: Annotated[str | None, typer.Option(help="Who; default: the name that you are logged in by.")] = None,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Settle doubtful attempts at zero, for good, when you know that the provider did not bill them: an outage need
    not eat a budget. Nothing is released unless every id is in doubt. `ledger releases` has who did it, when and why.
    """
    from scribe_router.reports import bookkeeping

    found = registry(config, policies, env_file, sandbox=False)
    who = by or login()
    count = _run(bookkeeping.release(found, attempts, who=who, reason=reason, now=time.time()))
    _audit(found, "ledger.release", who, attempts=attempts, reason=reason)
    typer.echo(f"ok: {count} released")


@ledger.command()
def releases(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """List every release as a line of JSON: the attempt, what it was settled at, who, when and why."""
    from scribe_router.reports import bookkeeping

    for line in _run(bookkeeping.releases(registry(config, policies, env_file, sandbox=False))):
        typer.echo(line)


@ledger.command()
def sweep(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Settle, at the most that it can have cost, what processes that have ended left reserved. A running proxy does
    this every ten seconds, and so does every command that opens the ledger; this one does nothing else."""
    from scribe_router.reports import bookkeeping

    _run(bookkeeping.sweep(registry(config, policies, env_file, sandbox=False)))
    typer.echo("ok: nothing is reserved any more by a process that is known to have ended")


def _audit(found: Any, act: str, who: str | None = None, **more: Any) -> None:
    from scribe_router.audit import Actor, Audit

    audit = Audit(Path(found.store.audit) if found.store.audit else None)
    audit.write(time.time(), Actor(who or caller(), "command line"), act, "done", **more)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        raise  # whoever read it has seen enough; typer ends quietly
    except WrongArgument as error:
        fail(f"--{error}")
    except (ValueError, OSError, ScribeError) as error:
        fail(error)

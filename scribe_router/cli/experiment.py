"""`scribe-router experiment`: arguments in, text out."""

import asyncio
from typing import Annotated

import typer

from scribe_router.cli.options import Config, EnvFile, Form, Policies, Since, fail, group, registry
from scribe_router.errors import ScribeError

experiment = group("Experiments of policies/experiments.yaml.")


@experiment.callback()
def _several() -> None:
    """A group, although it has one command so far."""


@experiment.command()
def report(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    since: Since = None,
    form: Form = "table",
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Compare the arms, from the ledger: units, exposures, errors, cost, latency and what clients reported, each with a
    95 % interval that counts units, and the difference to the first arm."""
    from scribe_router.reports import bookkeeping
    from scribe_router.reports.questions import WrongArgument

    found = registry(config, policies, env_file, sandbox=False)
    try:
        typer.echo(asyncio.run(bookkeeping.experiment(found, name, since, form)))
    except WrongArgument as error:
        fail(f"--{error}")
    except (ValueError, ScribeError) as error:
        fail(error)

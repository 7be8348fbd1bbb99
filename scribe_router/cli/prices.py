"""`scribe-router prices`: arguments in, text out."""

from pathlib import Path
from typing import Annotated

import typer

from scribe_router.cli.options import Config, EnvFile, Policies, checked, fail, group, load, place

prices = group("Check the prices in force, and update the price map.")


@prices.command("check")
def check(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """List what is unpriced, past its day, or differs from a second source.

    Exits with 1 when something has to be done; a note is only worth knowing. An explained difference is a note:
    policies/prices.yaml has the reason under `differs`.
    """
    from datetime import UTC, datetime

    from scribe_router.reports import prices as report

    loaded = load(config, policies, env_file)
    text, problems = report.check(loaded, checked(loaded), datetime.now(UTC).date())
    typer.echo(text)
    raise typer.Exit(int(problems))


@prices.command("update")
def update(
    file: Annotated[Path, typer.Argument(help="A newer model_prices_and_context_window.json of LiteLLM's.")],
    write: Annotated[
        bool, typer.Option(help="Store it as policies/price_map.json, which is read from then on.")
    ] = False,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Show how a newer price map changes the models in use, and with --write use it. Fetches nothing.

    Take the file from LiteLLM's repository or from a newer LiteLLM. What is written is read in place of the installed
    LiteLLM's map until it is deleted; `prices check` and every ledger row's price say which figures were in force.
    """
    from scribe_router.reports import prices as report

    found, folder = place(config, policies, env_file)
    loaded = load(config, policies, env_file)
    try:
        to = folder or found.parent / "policies"
        typer.echo(report.update(loaded, checked(loaded), file, to, write=write))
    except (OSError, ValueError) as error:
        fail(f"{file}: {error}")

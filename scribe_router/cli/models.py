"""`scribe-router models`: arguments in, text out."""

import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from scribe_router.cli.options import AsSandbox, Config, EnvFile, Policies, place, registry

models = typer.Typer(
    help="List what can be asked for, and keep the catalogue of what a provider sells.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
NOT_READ = 2  # the exit code where there is nothing to compare with


@models.callback(invoke_without_command=True)
def names(
    context: typer.Context,
    sandbox: AsSandbox = False,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """List every name that can be asked for, and what is behind it."""
    from scribe_router.explain import listing

    if context.invoked_subcommand is None:
        typer.echo(listing(registry(config, policies, env_file, sandbox=sandbox)))


@models.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, prices in USD per token.")] = False,
    sandbox: AsSandbox = False,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """List every deployment with its window, its prices and what it can do."""
    import json

    from scribe_router.explain import facts_table
    from scribe_router.listing import deployments

    found = registry(config, policies, env_file, sandbox=sandbox)
    typer.echo(json.dumps(deployments(found), indent=2) if as_json else facts_table(found))


@models.command()
def sync(
    provider: Annotated[str, typer.Argument(help="A row of policies/providers.yaml that has a catalogue: openrouter.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A list that was saved, in place of the host's.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 where anything differs.")] = False,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Download what a provider sells into policies/catalogues/, and print what changed since the last time.

    Deployments of it take price, window, output and abilities from there, where neither they nor LiteLLM's map say
    them. Exit code 0: done; 1: --check, and it differs; 2: it could not be read, and nothing was changed.
    """
    from scribe_router.config import catalogue
    from scribe_router.config.problems import printable

    found, folder = place(config, policies, env_file)
    folder = folder or found.parent / "policies"
    path = folder / catalogue.FOLDER / f"{provider}.json"
    row = _row(found, folder, provider)
    try:
        old = catalogue.read(path) if path.exists() else {}
        new, refused = catalogue.parse(_listed(row, source))
    except (OSError, ValueError) as error:
        _unread(f"{source or path.stem}: {error}")
    for line in refused:
        typer.echo(f"refused  {printable(line)}", err=True)
    if not new:
        _unread("no model of the list can be read")
    lines = [printable(line) for line in catalogue.changes(old, new)]
    typer.echo("\n".join([*lines, f"{len(new)} models, {len(lines)} not as in {path}"]))
    if lines and not check:
        catalogue.write(path, new)
    raise typer.Exit(int(check and bool(lines)))


def _row(config: Path, policies: Path, provider: str) -> Any:
    """The provider's row. The configuration itself need not be right: it may lack the prices that are to come."""
    from scribe_router.config.files import Files
    from scribe_router.names import did_you_mean
    from scribe_router.policies.providers import ProvidersKnowledge

    files = Files(config, policies, os.environ)
    rows, _ = files.knowledge("providers", ProvidersKnowledge)
    if rows is None:
        _unread("\n".join(map(str, files.problems)))
    listed = [name for name, row in rows.root.items() if row.catalogue]
    if provider not in listed:
        hint = did_you_mean(provider, listed) or f"; it is kept for {', '.join(listed)}"
        _unread(f"{provider} has no catalogue{hint}")
    return rows.root[provider]


def _listed(row: Any, source: Path | None) -> list[Any]:
    from scribe_router.upstream.model_list import fetch, listed

    return listed(source.read_bytes()) if source is not None else fetch(row.regions[row.default_region].api_base)


def _unread(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(NOT_READ)

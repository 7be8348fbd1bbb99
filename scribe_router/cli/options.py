"""What commands share: groups, the options that say where the files are, and the error that ends one in a line."""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from scribe_router.errors import ConfigError

Config = Annotated[
    Path | None,
    typer.Option("--config", help="litellm_config.yaml; default $SCRIBE_CONFIG, then the one in this folder."),
]
Policies = Annotated[
    Path | None,
    typer.Option("--policies", help="Folder of policies; default $SCRIBE_POLICIES, then policies/ beside it."),
]
AsSandbox = Annotated[bool, typer.Option("--sandbox", help="As with serve --sandbox: no deployment lacks its key.")]
Since = Annotated[str | None, typer.Option(help="From this day on (UTC), as 2026-11-20; default: all.")]
Form = Annotated[str, typer.Option("--format", help="table, csv or json.")]
EnvFile = Annotated[Path | None, typer.Option("--env-file", help="NAME=value lines, added to the environment.")]


def group(about: str) -> typer.Typer:
    """Commands under one name; the name alone shows what there is."""
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)


def place(config: Path | None, policies: Path | None, env_file: Path | None) -> tuple[Path, Path | None]:
    """Where the files are: `litellm_config.yaml`, and the folder of policies if one is named."""
    if env_file is not None:
        from dotenv import dotenv_values

        if not env_file.is_file():
            fail(f"{env_file} is not there")
        os.environ.update({name: value for name, value in dotenv_values(env_file).items() if value is not None})
    found = config or Path(os.environ.get("SCRIBE_CONFIG") or "litellm_config.yaml")
    if not found.is_file():
        fail(f"{found} is not there; scribe-router init . writes one, --config names another")
    folder = policies or (Path(value) if (value := os.environ.get("SCRIBE_POLICIES")) else None)
    if folder is not None and not folder.is_dir():
        fail(f"{folder} is not a folder")
    return found, folder


def load(config: Path | None, policies: Path | None, env_file: Path | None) -> Any:
    """The configuration with its problems."""
    from scribe_router.config.load import load_config

    found, folder = place(config, policies, env_file)
    return load_config(found, folder, os.environ, datetime.now(UTC).date())


def registry(config: Path | None, policies: Path | None, env_file: Path | None, *, sandbox: bool) -> Any:
    """The registry, or the end of the command with every problem."""
    from scribe_router.sandboxed import sandboxed

    found = checked(load(config, policies, env_file))
    return sandboxed(found, "http://sandbox") if sandbox else found


def checked(loaded: Any) -> Any:
    """The registry of what was loaded, or the end of the command with every problem."""
    try:
        return loaded.or_raise()
    except ConfigError as error:
        fail(error)


def login() -> str:
    """Who is logged in, for what is written down. Ends the command where this user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        fail("this user has no name; say who with --by")


def caller() -> str:
    """Who is logged in, or the number of a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def fail(message: object) -> NoReturn:
    """End the command with exit code 1 and this message."""
    typer.echo(str(message), err=True)
    raise typer.Exit(1)

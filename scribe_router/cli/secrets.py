"""`scribe-router secrets`: arguments in, text out. A value comes from standard input or a hidden prompt, and is never
printed."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scribe_router.cli.options import Config, EnvFile, Policies, fail, group, place

secrets = group("Keep secrets in an encrypted file: secret/NAME in policies/.")
Name = Annotated[str, typer.Argument(help="What stands after secret/.")]
# Words too many are ours to refuse: typer would print them, and one may be the secret.
STRICT = {"allow_extra_args": True, "ignore_unknown_options": True}


@secrets.command()
def key() -> None:
    """Print a new key for SCRIBE_SECRETS_KEY. It is kept nowhere."""
    from scribe_router.secrets.encrypted import new_key

    typer.echo(new_key())


@secrets.command("set", context_settings=STRICT)
def set_(
    context: typer.Context, name: Name, config: Config = None, policies: Policies = None, env_file: EnvFile = None
) -> None:
    """Keep a value, read from standard input or asked for: scribe-router secrets set openai <key.txt"""
    import time

    if context.args:
        fail("the value is not taken from the command line, where others can read it; give it on standard input")
    file, path = _file(config, policies, env_file)
    replaced = _done(lambda: file.put(name, _value(name), time.time()))
    typer.echo(f"{'replaced' if replaced else 'set'} {name} in {path}; secret/{name} names it in policies/")


@secrets.command("list")
def list_(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """List the names, and when each was set (UTC)."""
    file, path = _file(config, policies, env_file)
    found = _done(file.read)
    width = max(map(len, found), default=0)
    for name, secret in sorted(found.items()):
        typer.echo(f"{name.ljust(width)}  {secret.changed:%Y-%m-%d %H:%M}")
    if not found:
        typer.echo(f"no secrets in {path}", err=True)


@secrets.command()
def remove(name: Name, config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Forget a value."""
    file, path = _file(config, policies, env_file)
    _done(lambda: file.remove(name))
    typer.echo(f"removed {name} from {path}")


@secrets.command()
def rotate(config: Config = None, policies: Policies = None, env_file: EnvFile = None) -> None:
    """Encrypt everything with a new key, the first of SCRIBE_SECRETS_KEY=NEW,OLD.

    Give running routers both keys first; afterwards the old one can go.
    """
    file, path = _file(config, policies, env_file)
    count = _done(file.rotate)
    typer.echo(f"{count} secrets in {path} are encrypted with the first key; the others are not needed any more")


def _file(config: Path | None, policies: Path | None, env_file: Path | None) -> tuple[Any, Path]:
    """The encrypted file that policies/secrets.yaml names, and its path. The rest of the configuration need not be
    right: it may lack the secrets that are to come."""
    from scribe_router.config.documents import Document, load
    from scribe_router.config.secrets import settings_of
    from scribe_router.secrets.encrypted import Keys, SecretsFile

    found, folder = place(config, policies, env_file)
    named = (folder or found.parent / "policies") / "secrets.yaml"
    document = load(named) if named.exists() else Document(str(named), {})
    settings = settings_of(document, os.environ)
    if settings is None or document.problems:
        fail("\n".join(map(str, document.problems)))
    path = found.parent / settings.file
    return SecretsFile(path, _done(lambda: Keys.of(os.environ))), path


def _value(name: str) -> str:
    if sys.stdin.isatty():
        value: str = typer.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True)
        return value
    try:
        return sys.stdin.read().rstrip("\r\n")
    except UnicodeDecodeError:
        fail("the value is not UTF-8 text")


def _done(work: Any) -> Any:
    from scribe_router.secrets import Unresolved

    try:
        return work()
    except Unresolved as error:
        fail(error)

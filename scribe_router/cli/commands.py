"""The command line: arguments in, text out. Decides nothing; `check`, `explain` and `models` finish without LiteLLM."""

import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from scribe_router import __version__
from scribe_router.cli.experiment import experiment
from scribe_router.cli.explain import explain
from scribe_router.cli.keys import keys
from scribe_router.cli.ledger import ledger
from scribe_router.cli.mcp import mcp
from scribe_router.cli.models import models
from scribe_router.cli.options import Config, EnvFile, Form, Policies, Since, fail, load, place, registry
from scribe_router.cli.prices import prices
from scribe_router.cli.privacy import privacy
from scribe_router.cli.secrets import secrets
from scribe_router.errors import ConfigError, ScribeError

app = typer.Typer(
    name="scribe-router",
    help="A thin, configuration-driven router over LiteLLM. Start with `scribe-router init my-router`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(experiment, name="experiment")
app.command()(explain)
app.add_typer(keys, name="keys")
app.add_typer(ledger, name="ledger")
app.add_typer(mcp, name="mcp")
app.add_typer(models, name="models")
app.add_typer(prices, name="prices")
app.add_typer(privacy, name="privacy")
app.add_typer(secrets, name="secrets")


@app.command()
def serve(
    config: Config = None,
    policies: Policies = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 4000,
    workers: Annotated[int, typer.Option(help="Processes; they share the ledger.", min=1, max=64)] = 1,
    sandbox: Annotated[
        bool, typer.Option(help="Answer for every provider from the built-in sandbox; needs no key.")
    ] = False,
    admin_port: Annotated[
        int | None,
        typer.Option(help="Port of its own for /admin, which is then nowhere else; default: access.yaml's.", max=65535),
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Run the proxy: OpenAI's API on this machine, every model of the configuration behind it."""
    from scribe_router.logs import log_requests
    from scribe_router.sandbox import SandboxThread
    from scribe_router.server import boot

    found_config, folder = place(config, policies, env_file)
    os.environ[boot.CONFIG] = str(found_config.absolute())  # worker processes read it
    if folder is not None:
        os.environ[boot.POLICIES] = str(folder.absolute())
    log_requests()
    fake = SandboxThread() if sandbox else None
    try:
        if fake is not None:
            fake.start()
            os.environ[boot.SANDBOX] = fake.sandbox.url
        found = boot.registry()
        boot.check_address(found, host)
        boot.try_keys(found)
    except ConfigError as error:
        fail(error)
    bound = _bound(boot, host, port, "--port")
    sockets = [bound, *_admin_door(boot, found, host, admin_port)]
    _say_hello(found, host, bound.getsockname()[1])
    try:
        boot.run(sockets, workers)
    finally:
        if fake is not None:
            fake.stop()


@app.command()
def check(
    config: Config = None,
    policies: Policies = None,
    resolved: Annotated[bool, typer.Option(help="Print the plain LiteLLM configuration after our expansion.")] = False,
    verify: Annotated[bool, typer.Option(help="Try each key at its host too: one free request for each.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Check every file at once: each problem is one line, file:line:column: place: problem.

    Sends nothing but with --verify, which exits with 1 where a host refuses a key.
    """
    loaded = load(config, policies, env_file)
    for problem in loaded.problems:
        typer.echo(str(problem), err=True)
    if loaded.registry is None:
        count = len(loaded.errors)
        fail(f"{count} error{'s' if count != 1 else ''}")
    found = loaded.registry
    if resolved:
        from scribe_router.config.resolved import LEFT_OUT
        from scribe_router.config.resolved import resolved as expanded

        text = expanded(loaded.source, found)
        typer.echo(text, nl=False)
        if LEFT_OUT in text:
            typer.echo(f"note: {LEFT_OUT} stands for what the file holds itself; write os.environ/NAME there", err=True)
        return
    for warning in found.warnings:
        typer.echo(f"note: {warning}")
    wildcards = f", {len(found.wildcards)} wildcards" if found.wildcards else ""
    typer.echo(
        f"ok: {len(found.deployments)} deployments of {len(found.models)} models, {len(found.groups)} groups, "
        f"{len(found.aliases)} aliases, {len(found.budgets.limits)} limits{wildcards}; version {found.version}"
    )
    if verify:
        _try_keys(found)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder to create or to add to.")]) -> None:
    """Write a configuration to start from. Files that are there already are left as they are."""
    from scribe_router.config.knowledge import SHIPPED
    from scribe_router.config.load import KNOWLEDGE

    (folder / "policies").mkdir(parents=True, exist_ok=True)
    wanted = ["litellm_config.yaml", *(f"policies/{path.name}" for path in sorted((SHIPPED / "policies").iterdir()))]
    for name in wanted:
        if Path(name).stem in KNOWLEDGE:
            continue
        if (folder / name).exists():
            typer.echo(f"kept   {folder / name}")
            continue
        shutil.copyfile(SHIPPED / name, folder / name)
        typer.echo(f"wrote  {folder / name}")
    typer.echo(f"\nnext: cd {folder} && scribe-router check && scribe-router serve --sandbox")


@app.command()
def spend(
    by: Annotated[
        str,
        typer.Option(
            help="Columns, with commas: model, model_name (as in model_list), deployment, provider, user, team, key, "
            "lane, day, mark, outcome. Or limit alone: what is spent of each limit, and where its window will end at "
            "this pace."
        ),
    ] = "model",
    since: Since = None,
    form: Form = "table",
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Say what was spent, from the ledger, and how far the limits are used up.

    The forecast is what will be spent at the window's end if money goes on being spent as in the part of the window
    that is over; it is empty during the first tenth, and for a limit without an end.
    """
    import asyncio
    import time

    from scribe_router.reports import questions
    from scribe_router.stores import existing_ledger

    try:
        asked = questions.question(by, since, form)
        found = registry(config, policies, env_file, sandbox=False)
        with existing_ledger(found.store.url, found.store.durability) as books:
            typer.echo(asyncio.run(questions.answer(books, found.budgets, asked, time.time())))
    except questions.WrongArgument as error:
        fail(f"--{error}")
    except (ValueError, ScribeError) as error:
        fail(error)


@app.command()
def schema(out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("schemas")) -> None:
    """Write a JSON Schema for each YAML file, for editors."""
    from scribe_router.config.schemas import schemas

    out.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (out / name).write_text(text, encoding="utf-8")
        typer.echo(f"wrote  {out / name}")


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 4010,
    answers: Annotated[Path | None, typer.Option(help="YAML or JSON file of canned answers.")] = None,
    mcp_server: Annotated[
        bool, typer.Option("--mcp", help="A fake MCP server instead, on its standard input and output.")
    ] = False,
    record: Annotated[Path | None, typer.Option(help="With --mcp: a file of the calls that were executed.")] = None,
) -> None:
    """Run the fake provider alone: OpenAI's, Anthropic's, Gemini's and Ollama's wire, behaviour by model name."""
    import asyncio

    if mcp_server:
        from scribe_router.sandbox.mcp_server import run

        run(record)
        return
    from scribe_router.sandbox import serve as serve_sandbox

    try:
        asyncio.run(serve_sandbox(host, port, answers))
    except KeyboardInterrupt:
        return
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"scribe-router {__version__}")
        raise typer.Exit


def _bound(boot: Any, host: str, port: int, option: str) -> Any:
    try:
        return boot.bind(host, port)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}; choose another with {option}")


def _admin_door(boot: Any, found: Any, host: str, asked: int | None) -> list[Any]:
    """The address of its own for what an operator asks, if there is one; worker processes are told its port."""
    os.environ.pop(boot.ADMIN_PORT, None)
    port = asked if asked is not None or found.access is None else found.access.admin_port
    if port is None:
        return []
    door = _bound(boot, host, port, "--admin-port")
    os.environ[boot.ADMIN_PORT] = str(door.getsockname()[1])
    typer.echo(f"/admin is at port {os.environ[boot.ADMIN_PORT]} alone")
    return [door]


def _try_keys(registry: Any) -> None:
    import asyncio

    from scribe_router.credentials import verified

    found = asyncio.run(verified(registry))
    typer.echo("\n".join(map(str, found)) or "no deployment has a key")
    if wrong := sum(each.verdict == "wrong" for each in found):
        fail(f"{wrong} key{'s are' if wrong != 1 else ' is'} refused")


def _say_hello(registry: Any, host: str, port: int) -> None:
    from scribe_router.explain import greeting

    typer.echo(greeting(registry, f"http://{'[' + host + ']' if ':' in host else host}:{port}"))


def main() -> None:
    """The entry point."""
    app()

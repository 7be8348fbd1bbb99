"""`scribe-router explain`: why a request would go where, or why a past one went there. Sends nothing."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from scribe_router.cli.options import AsSandbox, Config, EnvFile, Policies, fail, registry
from scribe_router.errors import RequestError


def explain(
    model: Annotated[
        str | None, typer.Argument(help="Model, group or alias; default: the request's, then the default.")
    ] = None,
    named: Annotated[str | None, typer.Option("--model", help="The same as the argument.")] = None,
    request: Annotated[Path | None, typer.Option(help="A request's JSON body; - reads it from standard input.")] = None,
    effort: Annotated[
        str | None, typer.Option(help="Reasoning effort: none, minimal, low, medium, high, xhigh, max or auto.")
    ] = None,
    api: Annotated[str, typer.Option(help="chat, completions or embeddings.")] = "chat",
    seed: Annotated[int, typer.Option(help="Decides between equals, as chance does when serving.")] = 0,
    identity: Annotated[
        str | None, typer.Option("--id", help="A past request by its x-scribe-request-id, from the journal.")
    ] = None,
    sandbox: AsSandbox = False,
    config: Config = None,
    policies: Policies = None,
    env_file: EnvFile = None,
) -> None:
    """Say why a request would go where, or went there (--id), by the code that routes. Sends nothing."""
    if identity is not None:
        if model or named or request or effort or seed or api != "chat":
            fail("--id stands alone: a past request is explained as it was")
        _past(identity, registry(config, policies, env_file, sandbox=False))
        return
    found = registry(config, policies, env_file, sandbox=sandbox)
    asked = {"model": model or named, "reasoning_effort": effort}
    body = {**_request(request), **{name: value for name, value in asked.items() if value}}
    _planned(found, api, body, seed, effort=effort, whole=request is not None)


def _planned(found: Any, api: str, body: dict[str, Any], seed: int, *, effort: str | None, whole: bool) -> None:
    """Print the plan; a `whole` request has to be one that would be admitted."""
    from datetime import UTC, datetime

    from scribe_router.counting import settled
    from scribe_router.exchange import Api, Call
    from scribe_router.explain import describe
    from scribe_router.names import did_you_mean
    from scribe_router.plan import Snapshot, plan_of
    from scribe_router.policies.parameters import admit
    from scribe_router.policies.reasoning import LEVELS

    wanted = next((each for each in get_args(Api) if each == api), None)
    if wanted is None:
        fail(f"--api is {', '.join(get_args(Api))}, not {api}")
    if effort is not None and effort not in (*LEVELS, "auto"):
        fail(f"there is no effort {effort}{did_you_mean(effort, LEVELS)}; it is one of {', '.join(LEVELS)}, auto")
    try:
        if whole:
            admit(wanted, body)
        call, snapshot = Call(wanted, body), Snapshot(datetime.now(UTC).date(), seed)
        typer.echo(describe(settled(lambda tokens: plan_of(call, found, snapshot, counted=tokens), call), found))
    except RequestError as error:
        fail(f"{error.code}: {error.message}")


def _past(identity: str, found: Any) -> None:
    from scribe_router.explain_past import explained, faults, recorded
    from scribe_router.journal import NotRecorded
    from scribe_router.sandboxed import MARK, sandboxed

    try:
        past = recorded(found.store.journal, identity)
    except (NotRecorded, OSError) as problem:
        fail(problem)
    if past.version.endswith(MARK):
        found = sandboxed(found, "http://sandbox")
    typer.echo(explained(past, found))
    if faults(past, found):
        raise typer.Exit(1)


def _request(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        body = json.loads(sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")
    if not isinstance(body, dict):
        fail(f"{path}: expected a JSON object, a request's body")
    return body

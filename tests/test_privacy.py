"""`scribe-router privacy`: what is kept of one user, shown and taken out, while others write; on each store."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from scribe_router.exchange import Call, CallOptions
from scribe_router.journal import Journal, older
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.stores.redis_servers import one_server
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - &entry
    model_name: m
    litellm_params: {model: openai/echo, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - {<<: *entry, model_name: n}
"""
MASTER = "a-long-and-random-master-secret"
Run = Callable[..., Result]


@pytest.fixture(params=["sqlite", "redis"])
def ledger(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite:l.sqlite3"
    else:
        with one_server(**{"maxmemory-policy": "noeviction"}) as server:
            yield server.url


@pytest.fixture(scope="module")
def host() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, ledger: str, host: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRIBE_MASTER_KEY", MASTER)
    experiment = {"on": "m", "arms": {name: {"model": name, "share": 1} for name in ("m", "n")}}
    limit = {"id": "mine", "scope": "user", "window": "total", "usd": 1}
    policies: dict[str, Any] = {
        "store": {"ledger": ledger, "journal": "journal.jsonl", "journal_megabytes": 0.003, "journal_files": 50},
        "budgets": {"limits": [limit, {"id": "whole", "scope": "all", "window": "total", "usd": 9}]},
        "experiments": {"experiments": {"e": experiment}},
        "access": {"master_key": "os.environ/SCRIBE_MASTER_KEY"},
    }
    (tmp_path / "litellm_config.yaml").write_text(CONFIG.replace("BASE", host.url))
    (tmp_path / "policies").mkdir()
    for name, policy in policies.items():
        (tmp_path / "policies" / f"{name}.yaml").write_text(json.dumps(policy))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*arguments: str, exits: int = 0) -> Result:
        done = CliRunner().invoke(app, [*arguments, "--config", str(folder / "litellm_config.yaml")])
        assert done.exit_code == exits, done.output
        return done

    return run


def talk(folder: Path, *users: str) -> None:
    """A request of each, and what the client says of its answer."""
    asyncio.run(_talk(folder, users))


async def _talk(folder: Path, users: Iterable[str]) -> None:
    text = (folder / "litellm_config.yaml").read_text()
    router = Router(registry_from(folder, text, environment={"SCRIBE_MASTER_KEY": MASTER}))
    router.journal = Journal(Path(str(router.registry.store.journal)), keep=router.registry.store.keep)  # not watched
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    for user in users:
        answer = await router.serve(Call("chat", body, CallOptions(user=user)))
        await router.ledger.flush()
        await router.report({"request_id": answer.exchange.id, "success": True})
    await router.aclose()


def journal_of(folder: Path) -> list[Any]:
    path = folder / "journal.jsonl"
    return [json.loads(line) for part in (*reversed(older(path)), path) for line in part.read_text().splitlines()]


def test_a_user_is_shown_and_taken_out(folder: Path, run: Run) -> None:
    talk(folder, *("ann", "bob") * 6)
    assert len(older(folder / "journal.jsonl")) > 1
    run("keys", "create", "laptop", "--model", "m", "--user", "ann")
    lines = [json.loads(line) for line in run("privacy", "export", "--user", "ann").stdout.splitlines()]
    kinds = [line["kind"] for line in lines]
    assert {kind: kinds.count(kind) for kind in kinds} == {"key": 1, "ledger": 6, "outcome": 6, "journal": 6}
    assert all(line["user"] == "ann" for line in lines if line["kind"] != "outcome")
    assert all(line["success"] is True for line in lines if line["kind"] == "outcome")
    assert "secrets" not in lines[kinds.index("key")]

    before = json.loads(run("spend", "--format", "json").stdout)["total"]
    refused = run("privacy", "erase", "--user", "ann", exits=1)
    assert refused.stderr == "laptop is still open; revoke the keys of ann first: scribe-router keys revoke\n"
    run("keys", "revoke", "laptop")
    done = run("privacy", "erase", "--user", "ann", "--by", "eve").stdout
    assert done.startswith("ok: 6 rows of the ledger are erased-")
    assert "6 lines of the journal are gone\nnote: names of keys stay for good, in the ledger too: laptop\n" in done
    run("ledger", "check")
    assert json.loads(run("spend", "--format", "json").stdout)["total"] == before
    assert [each["user"] for each in journal_of(folder)] == ["bob"] * 6
    assert run("privacy", "export", "--user", "ann").stdout == ""
    assert "ann" not in run("ledger", "export").stdout
    assert len(run("privacy", "export", "--user", "bob").stdout.splitlines()) == 18
    audit = [json.loads(line) for line in (folder / ".scribe" / "audit.jsonl").read_text().splitlines()]
    acts = [(each["actor"], each["act"]) for each in audit][-2:]
    assert acts == [("eve", "keys.disown"), ("eve", "privacy.erase")]
    assert "ann" not in json.dumps(audit[-1])
    assert (audit[-1]["rows"], audit[-1]["lines"]) == (6, 6)
    again = run("privacy", "erase", "--user", "ann").stdout
    assert again.startswith("ok: 0 rows of the ledger are ")
    assert again.split()[7] == done.split()[7], "with a hash key the name is the same each time"


def test_a_strange_user(folder: Path, run: Run) -> None:
    talk(folder, 'a"|,user:b', "é", "b")
    for user in ('a"|,user:b', "é"):
        assert len(run("privacy", "export", "--user", user).stdout.splitlines()) == 3
        assert run("privacy", "erase", "--user", user).stdout.startswith("ok: 1 rows")
    run("ledger", "check")
    assert [each["user"] for each in journal_of(folder)] == ["b"]
    assert run("privacy", "erase", "--user", "erased-0", exits=1).stderr == "name a user, as the ledger has it\n"

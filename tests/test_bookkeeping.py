"""The commands on the ledger, each over a real file; what they say, and what they leave behind."""

import asyncio
import csv
import io
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.reports.bookkeeping import COLUMNS
from scribe_router.stores.contract import Counter
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.ledger_rows import row, settlement
from tests.stores.redis_servers import one_server

Run = Callable[..., Result]
TEAM = Charge("team", "all", "total", 1_000_000_000)
CONFIG = "model_list: [{model_name: m, litellm_params: {model: openai/gpt-6-luna, api_key: k}}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration, and a ledger with one attempt of each kind: known, in doubt, and still reserved by the dead."""
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:l.sqlite3")
    (tmp_path / "policies" / "budgets.yaml").write_text("limits: [{id: month, scope: all, window: month, usd: 9}]")
    asyncio.run(_fill(tmp_path / "l.sqlite3"))
    return tmp_path


async def _fill(path: Path) -> None:
    ledger = SqliteLedger(path, sweep_every=3600.0)
    for attempt in ("known", "lost", "silent", "dead"):
        await ledger.reserve(row(attempt, 300, TEAM), 300)
    ledger.settle(settlement("known", 100, input=3))
    ledger.settle(replace(settlement("lost", 300, Mark.DOUBT), outcome="network"))
    ledger.settle(settlement("silent", 300, Mark.BOUND))
    await ledger.flush()
    ledger.close()


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*arguments: str, exits: int = 0) -> Result:
        done = CliRunner().invoke(app, ["ledger", *arguments, "--config", str(folder / "litellm_config.yaml")])
        assert done.exit_code == exits, done.output
        return done

    return run


def tamper(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "l.sqlite3")) as connection:
        connection.execute("UPDATE counters SET settled = settled + 7")
        connection.commit()


def test_check_and_rebuild(run: Run, folder: Path) -> None:
    assert run("check").output == "ok: every counter is what its rows say\n"
    tamper(folder)
    said = run("check", exits=1).output
    assert "team|all|total: counter says settled 1007, reserved 0; rows say settled 1000, reserved 0" in said
    assert "ledger rebuild mends them" in said
    assert run("rebuild").output.endswith("ok: 1 counters changed\n")
    run("check")


def test_export(run: Run) -> None:
    lines = [json.loads(line) for line in run("export").output.splitlines()]
    assert [line["attempt"] for line in lines] == ["known", "lost", "silent", "dead"]
    assert (lines[0]["cost"], lines[0]["usage"], lines[0]["charges"][0]["limit"]) == (100, {"input": 3}, "team")
    cells = list(csv.DictReader(io.StringIO(run("export", "--format", "csv").output)))
    assert tuple(cells[0]) == COLUMNS
    for line, cell in zip(lines, cells, strict=True):
        read = {name: json.loads(text) if text[:1] in "[{" and text else text for name, text in cell.items()}
        assert read["charges"] == line["charges"]
        assert read["cost"] == ("" if line["cost"] is None else str(line["cost"]))
    assert len(run("export", "--since", "1970-01-01").output.splitlines()) == 4
    assert run("export", "--since", "1970-01-02").output == ""
    assert run("export", "--format", "xml", exits=1).output == "--format: jsonl or csv, not xml\n"


def test_a_backup_is_a_ledger(run: Run, folder: Path) -> None:
    copy = folder / "copies" / "l.sqlite3"
    run("backup", str(copy))
    assert "is there already" in run("backup", str(copy), exits=1).output
    assert "is there already" in run("backup", str(folder / "l.sqlite3"), exits=1).output

    async def read() -> tuple[list[str], dict[str, Counter]]:
        ledger = SqliteLedger(copy, sweep_every=3600.0)
        try:
            return await ledger.check(), await ledger.counters()
        finally:
            ledger.close()

    differences, counters = asyncio.run(read())
    assert (differences, counters[TEAM.counter].settled) == ([], 700 + 300), "what is reserved in it is swept"


def test_retention(run: Run) -> None:
    month = datetime.now(UTC).strftime("%Y-%m-01")
    said = run("retain", "--before", "2999-01-01", exits=1).output
    assert said == f"--before: 2999-01-01 reaches into a window that is open; name {month} or a day before it\n"
    run("sweep")
    assert run("retain", "--before", month).output == "ok: 4 rows folded\n"
    assert run("export").output == ""
    run("check")
    assert "a day such as" in run("retain", "--before", "soon", exits=1).output


def test_sweeping(run: Run) -> None:
    assert "nothing is reserved any more" in run("sweep").output
    dead = next(json.loads(line) for line in run("export").output.splitlines() if '"dead"' in line)
    assert (dead["state"], dead["mark"], dead["cost"], dead["provisional"]) == ("settled", "swept", 300, True)


def test_a_release_is_audited(run: Run) -> None:
    assert [line.split()[0] for line in run("doubtful").output.splitlines()] == ["attempt", "lost", "silent", "dead"]
    assert "known is not in doubt" in run("release", "lost", "known", "--reason", "outage", exits=1).output
    assert "say who and why" in run("release", "lost", "--reason", " ", exits=1).output
    assert run("releases").output == ""

    assert run("release", "lost", "--by", "eve", "--reason", "not on the bill").output == "ok: 1 released\n"

    (kept,) = [json.loads(line) for line in run("releases").output.splitlines()]
    assert abs(datetime.fromisoformat(kept.pop("time")).timestamp() - time.time()) < 600
    assert kept == {
        "attempt": "lost", "by": "eve", "reason": "not on the bill", "usd": "0.0000003", "mark": "doubt",
        "outcome": "network", "user": "ann", "principal": "local", "deployment": "small-eu",
    }  # fmt: skip
    assert "lost" not in run("doubtful").output
    run("check")
    assert "lost is not in doubt" in run("release", "lost", "--reason", "again", exits=1).output
    run("retain", "--before", "2020-01-01")
    assert "eve" in run("releases").output, "it outlives the row"


def test_what_changes_the_books_is_in_the_audit_log(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each change, none for what only looks, and none for what was refused."""
    monkeypatch.setenv("LOGNAME", "ann")
    tamper(folder)
    run("rebuild")
    run("sweep")
    run("release", "lost", "silent", "--by", "eve", "--reason", "not\non it")
    run("release", "dead", "--reason", "nor this one")
    month = datetime.now(UTC).strftime("%Y-%m-01")
    run("retain", "--before", month)
    run("release", "lost", "--reason", "again", exits=1)
    run("retain", "--before", "2999-01-01", exits=1)
    for command in ("check", "export", "doubtful", "releases"):
        run(command)

    text = (folder / ".scribe" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(abs(datetime.fromisoformat(line.pop("time")).timestamp() - time.time()) < 600 for line in lines)
    shared = {"address": "command line", "outcome": "done"}
    assert lines == [
        {"actor": "ann", "act": "ledger.rebuild", **shared, "counters": 1},
        {"actor": "eve", "act": "ledger.release", **shared, "attempts": ["lost", "silent"], "reason": "not\non it"},
        {"actor": "ann", "act": "ledger.release", **shared, "attempts": ["dead"], "reason": "nor this one"},
        {"actor": "ann", "act": "ledger.retain", **shared, "before": month, "rows": 4},
    ]


def test_where_there_is_no_ledger(run: Run, folder: Path) -> None:
    for name in folder.glob("l.sqlite3*"):
        if name.is_file():
            name.unlink()
    for command in (["check"], ["rebuild"], ["export"], ["sweep"], ["doubtful"], ["backup", "copy"], ["releases"]):
        assert "there is no ledger at" in run(*command, exits=1).output
    assert not (folder / "l.sqlite3").exists()


def test_redis_backs_itself_up(run: Run, folder: Path) -> None:
    with one_server() as server:
        (folder / "policies" / "store.yaml").write_text(f"ledger: {server.url}")
        assert "redis-cli --rdb copy.rdb" in run("backup", "copy.rdb", exits=1).output
        assert run("check").output.startswith("ok")
        assert run("doubtful").output == "no attempt is in doubt\n"
    assert len(run("check", exits=1).output.splitlines()) == 1, "a store that is away is one line"


def test_every_command_teaches() -> None:
    text = CliRunner().invoke(app, ["ledger", "--help"]).output
    commands = ["check", "rebuild", "export", "backup", "retain", "doubtful", "release", "releases", "sweep"]
    for command in commands:
        assert command in text
        helped = CliRunner().invoke(app, ["ledger", command, "--help"])
        assert (helped.exit_code, len(helped.output) > 300) == (0, True)

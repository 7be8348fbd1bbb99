"""`scribe-router mcp`: what an operator sees of servers, of those that do not answer, and of calls."""

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from tests.mcp.servers import executed, over_http, stdio
from tests.stores.redis_servers import one_server

CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/echo, api_base: "http://127.0.0.1:9/v1", api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""


class Terminal:
    """The command in a folder with a policy. `record` is where the server says what it executed."""

    def __init__(self, folder: Path, record: Path) -> None:
        self.folder, self.record = folder, record
        (folder / "policies").mkdir()
        (folder / "litellm_config.yaml").write_text(CONFIG)
        (folder / "policies" / "store.yaml").write_text("ledger: sqlite:ledger.db")

    def policy(self, **policy: Any) -> None:
        (self.folder / "policies" / "mcp.yaml").write_text(json.dumps(policy))

    def limit(self, **limit: Any) -> None:
        (self.folder / "policies" / "budgets.yaml").write_text(json.dumps({"limits": [limit]}))

    def run(self, *arguments: str, typed: str = "", env: dict[str, str] | None = None) -> Result:
        where = ("--config", str(self.folder / "litellm_config.yaml"))
        return CliRunner().invoke(app, [*arguments, *where], input=typed, env=env)

    def rows(self) -> list[dict[str, Any]]:
        lines = self.run("ledger", "export", "--format", "jsonl").stdout.splitlines()
        return [json.loads(line) for line in lines]


@dataclass(frozen=True)
class Box:
    """A server over HTTP for all tests of this file: one over stdio takes seconds to start, for each command."""

    row: dict[str, Any]
    record: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    record = tmp_path_factory.mktemp("box") / "record"
    with over_http(record) as url:
        yield Box({"url": url}, record)


@pytest.fixture
def box(running: Box) -> Box:
    running.record.unlink(missing_ok=True)
    return running


OFFERED: dict[str, Any] = {
    "prices": {"web_search": 0.001, "echo": "free", "fail": 0.25},
    "tools": ["web_search", "code_interpreter", "echo", "fail"],
}


@pytest.fixture
def terminal(tmp_path: Path, box: Box) -> Terminal:
    found = Terminal(tmp_path, box.record)
    found.policy(servers={"box": {**box.row, **OFFERED}})
    return found


AWAY = {"command": "scribe-no-such-program", "price": "free"}


@pytest.mark.parametrize("over", ["http", "stdio"])
def test_list(terminal: Terminal, over: str) -> None:
    if over == "stdio":
        terminal.policy(servers={"box": stdio(**OFFERED)})
    done = terminal.run("mcp", "list")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert lines[0] == ["tool", "usd", "per call  description"]
    found = {line[0]: line[1] for line in lines[1:]}
    assert (found["box__web_search"], found["box__echo"], found["box__code_interpreter"]) == (
        "0.001",
        "free",
        "refused",
    )
    assert found["box__hang"] == "refused", "the policy does not name it"


def test_a_server_that_does_not_answer(terminal: Terminal, box: Box) -> None:
    terminal.policy(servers={"away": AWAY, "box": {**box.row, "price": "free"}})
    for command in ("list", "check"):
        done = terminal.run("mcp", command)
        assert done.exit_code == 1
        assert done.stderr.startswith("MCP server away cannot be reached: ")
        assert ("box__echo" in done.stdout) is (command == "list")
    done = terminal.run("mcp", "call", "away__web")
    assert (done.exit_code, "MCP server away cannot be reached" in done.stderr) == (1, True)


def test_check(terminal: Terminal, box: Box) -> None:
    misspelt = {"prices": {"web_serch": 0.001, "echo": "free"}, "tools": ["echo", "nothing*"]}
    terminal.policy(
        servers={"box": {**box.row, **misspelt}},
        groups={"g": {"tools": ["box__ecko", "box__echo", "box"]}},
    )
    done = terminal.run("mcp", "check")
    assert done.exit_code == 1
    said = done.stderr.splitlines()
    assert "servers.box: it has no tool web_serch that a price could be for, did you mean web_search?" in said
    assert "servers.box.tools: nothing matches nothing*" in said
    assert "groups.g.tools: nothing matches box__ecko, did you mean box__echo?" in said
    assert not any(line.endswith(("box__echo", "matches box")) for line in said)
    terminal.policy(servers={"box": {**box.row, "price": "free"}})
    done = terminal.run("mcp", "check")
    assert (done.exit_code, done.stdout.startswith("ok: ")) == (0, True)
    assert done.stdout.endswith(" tools of 1 servers\n")


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_call_is_in_the_books_of_either_store(terminal: Terminal, store: str) -> None:
    with ExitStack() as stack:
        if store == "redis":
            server = stack.enter_context(one_server(**{"maxmemory-policy": "noeviction"}))
            (terminal.folder / "policies" / "store.yaml").write_text(f"ledger: {server.url}")
        _call_and_count(terminal)


def _call_and_count(terminal: Terminal) -> None:
    done = terminal.run("mcp", "call", "box__web_search", '{"query": "routers"}')
    assert (done.exit_code, done.stdout, done.stderr) == (
        0,
        "the first result for routers\n",
        "answered, 0.001 usd\n",
    )
    done = terminal.run("mcp", "call", "box__echo", "-", typed='{"text": "typed"}')
    assert (done.exit_code, done.stdout) == (0, "typed\n")
    done = terminal.run("mcp", "call", "box__fail")
    assert (done.exit_code, done.stderr) == (1, "failed, 0.25 usd\n")
    assert executed(terminal.record) == ["web_search", "echo", "fail"]
    assert {(row["tool"], row["outcome"]) for row in terminal.rows()} == {
        ("box__web_search", "answered"),
        ("box__echo", "answered"),
        ("box__fail", "failed"),
    }
    by_tool = terminal.run("spend", "--by", "tool", "--format", "json")
    assert {line["tool"]: line["usd"] for line in json.loads(by_tool.stdout)["lines"]} == {
        "box__web_search": "0.001",
        "box__echo": "0",
        "box__fail": "0.25",
    }
    header, *lines = terminal.run("ledger", "export", "--format", "csv").stdout.splitlines()
    assert {line["tool"] for line in csv.DictReader([header, *lines])} == {row["tool"] for row in terminal.rows()}


def test_a_call_over_stdio(terminal: Terminal) -> None:
    terminal.policy(servers={"box": stdio(terminal.record, **OFFERED)})
    done = terminal.run("mcp", "call", "box__echo", '{"text": "typed"}')
    assert (done.exit_code, done.stdout, executed(terminal.record)) == (0, "typed\n", ["echo"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("box__web_serch", "{}"), "there is no tool box__web_serch that may be called, did you mean box__web_search?"),
        (("box__code_interpreter", "{}"), "there is no tool box__code_interpreter that may be called"),
        (("bex__echo", "{}"), "there is no tool bex__echo that may be called"),
        (("box__echo", "[1]"), 'the arguments are no JSON object, such as {"query": "router"}'),
        (("box__echo", "{"), "the arguments are no JSON: "),
    ],
)
def test_what_cannot_be_called(terminal: Terminal, arguments: tuple[str, str], said: str) -> None:
    done = terminal.run("mcp", "call", *arguments)
    assert (done.exit_code, said in done.stderr, done.stdout) == (1, True, ""), done.stderr
    assert executed(terminal.record) == []


def test_a_call_that_cannot_be_paid(terminal: Terminal) -> None:
    terminal.limit(id="day", scope="all", window="day", usd=0.0005)
    done = terminal.run("mcp", "call", "box__web_search", '{"query": "x"}')
    assert (done.exit_code, "limit day" in done.stderr) == (1, True), done.stderr
    assert executed(terminal.record) == []


@pytest.mark.parametrize("command", [("list",), ("check",), ("call", "box__echo")])
def test_where_there_are_none(terminal: Terminal, command: tuple[str, ...]) -> None:
    for policy, said in (({}, "no MCP server is configured"), ({"enabled": False, "servers": {"away": AWAY}}, "off")):
        terminal.policy(**policy)
        done = terminal.run("mcp", *command)
        assert (done.exit_code, said in done.stderr) == (1, True), done.stderr

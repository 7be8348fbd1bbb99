"""Sessions with real MCP servers: the sandbox's over stdio and HTTP, with every trouble that it can make."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scribe_router.policies.mcp import McpPolicy, Tool
from scribe_router.upstream import mcp_sessions
from scribe_router.upstream.mcp_results import ToolReply
from scribe_router.upstream.mcp_sessions import McpSessions
from tests.mcp.servers import executed, over_http, stdio

pytestmark = pytest.mark.asyncio(loop_scope="module")


def sessions(row: dict[str, Any]) -> McpSessions:
    return McpSessions(McpPolicy.model_validate({"servers": {"box": {"price": "free", **row}}}))


def tool(name: str) -> Tool:
    return Tool("box", name, f"box__{name}", 0)


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["stdio", "http"])
async def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[McpSessions]:
    if request.param == "stdio":
        found = sessions(stdio(timeout_seconds=20))
        yield found
        await found.aclose()
        return
    with over_http() as url:
        found = sessions({"url": url, "timeout_seconds": 20})
        yield found
        await found.aclose()


async def test_tools_are_listed_with_their_schemas_unchanged(box: McpSessions) -> None:
    tools, problems = await box.listed(["box"])
    assert problems == {}
    found = {each.name: each for each in tools["box"]}
    assert found["echo"].description == "Say the same."
    assert found["echo"].schema["properties"] == {"text": {"title": "Text", "type": "string"}}


@pytest.mark.parametrize(
    ("name", "arguments", "outcome", "text", "reported"),
    [
        ("echo", {"text": "hello"}, "answered", "hello", None),
        ("echo", {"text": "\u0000 ü \U0001f600"}, "answered", "\u0000 ü \U0001f600", None),
        ("fail", {}, "failed", "no luck", None),
        ("picture", {}, "answered", "[image/png, which cannot be shown here]", None),
        ("priced", {"usd": 0.0005}, "answered", "paid", 500_000),
        ("priced", {"usd": "0.0000000001"}, "answered", "paid", 1),
        ("priced", {"usd": "-1"}, "answered", "paid", None),
        ("priced", {"usd": "lots"}, "answered", "paid", None),
        ("priced", {"usd": "nan"}, "answered", "paid", None),
        ("priced", {"usd": "-inf"}, "answered", "paid", None),
        ("priced", {"usd": "1e999999"}, "answered", "paid", None),
    ],
)
async def test_what_a_call_gives(
    box: McpSessions, name: str, arguments: dict[str, Any], outcome: str, text: str, reported: int | None
) -> None:
    assert await box.call(tool(name), arguments) == ToolReply(outcome, text, reported)  # type: ignore[arg-type]


async def test_what_a_server_does_not_know_is_told_to_the_model(box: McpSessions) -> None:
    reply = await box.call(tool("nothing"), {})
    assert (reply.outcome, "nothing" in reply.text) == ("failed", True)
    reply = await box.call(tool("echo"), {"wrong": 1})
    assert (reply.outcome, "text" in reply.text) == ("failed", True)


async def test_calls_at_once_do_not_wait_for_each_other(box: McpSessions) -> None:
    slow = asyncio.create_task(box.call(tool("hang"), {"seconds": 3.0}))
    await asyncio.sleep(0)
    first = await asyncio.wait(
        {slow, asyncio.create_task(box.call(tool("echo"), {"text": "quick"}))}, return_when=asyncio.FIRST_COMPLETED
    )
    assert [each.result().text for each in first[0]] == ["quick"]
    assert (await slow).text == "at last"


async def test_what_is_too_long_is_cut_and_says_so(box: McpSessions) -> None:
    reply = await box.call(tool("flood"), {"megabytes": 1})
    assert reply.outcome == "answered"
    assert len(json.dumps(reply.text)) <= 65_536
    assert reply.text.endswith(" bytes, 65536 are allowed]")


async def test_nobody_is_asked_on_behalf_of_a_server(box: McpSessions) -> None:
    reply = await box.call(tool("ask"), {})
    assert reply.outcome == "failed"


async def test_a_tool_that_is_new_is_listed_once_its_server_tells(box: McpSessions) -> None:
    await box.listed(["box"])
    assert (await box.call(tool("grow"), {"name": "sprout"})).text == "grown"
    for _ in range(100):
        tools, _ = await box.listed(["box"])
        if "sprout" in {each.name for each in tools["box"]}:
            break
        await asyncio.sleep(0.05)
    else:
        box._session("box")._tools = None  # newer protocols tell subscribers alone: a list is good for a minute
    assert (await box.call(tool("sprout"), {})).text == "I am sprout"


async def test_a_hanging_call_ends_in_time_and_hurts_nobody(box: McpSessions) -> None:
    reply = await box.call(tool("hang"), {}, within=0.5)
    assert reply == ToolReply("timeout", "the tool did not answer within 0.5 seconds")
    assert (await box.call(tool("echo"), {"text": "still there"})).text == "still there"


async def test_a_process_gets_no_more_of_our_environment_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    row = stdio()
    row["environment"] = {**row["environment"], "MINE": "yes"}
    found = sessions(row)
    try:
        given = set(json.loads((await found.call(tool("environment"), {})).text))
    finally:
        await found.aclose()
    assert {"MINE", "PATH"} <= given
    assert not given & {"OPENAI_API_KEY", "PYTEST_CURRENT_TEST"}


@pytest.mark.parametrize("trouble", ["crash", pytest.param("flood", marks=pytest.mark.slow)])
async def test_a_server_that_ends_is_started_anew(tmp_path: Path, trouble: str) -> None:
    record = tmp_path / "record"
    found = sessions(stdio(record, timeout_seconds=40))
    try:
        reply = await found.call(tool(trouble), {})
        assert (reply.outcome, reply.text) == ("lost", "the tool's server ended before it answered")
        assert (await found.call(tool("echo"), {"text": "again"})).text == "again"
    finally:
        await found.aclose()
    assert executed(record) == [trouble, "echo"], "nothing is called twice"


async def test_a_server_that_answers_nobody_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_sessions, "MOST_SILENT", 2)
    record = tmp_path / "record"
    found = sessions(stdio(record))
    try:
        await found.listed(["box"])
        for _ in range(2):
            assert (await found.call(tool("hang"), {}, within=0.5)).outcome == "timeout"
        assert (await found.call(tool("echo"), {"text": "new"})).text == "new"
        processes = [json.loads(line)["process"] for line in record.read_text().splitlines()]
    finally:
        await found.aclose()
    assert processes[0] == processes[1] != processes[2]


async def test_who_leaves_while_a_server_opens_ends_it_for_nobody() -> None:
    found = sessions(stdio())
    try:
        first = await found.call(tool("echo"), {"text": "x"}, within=0.01)
        assert first == ToolReply("not_connected", "MCP server box had no time for the call")
        _, problems = await found.listed(["box"], 0.01)
        assert problems == {"box": "MCP server box does not list its tools within 0.01 seconds"}
        opening = found._session("box")._opening
        assert (await found.call(tool("echo"), {"text": "y"})).text == "y"
        assert found._session("box")._opening is opening, "it was opened once"
        assert (await found.call(tool("echo"), {"text": "z"}, within=-1.0)).outcome == "not_connected"
    finally:
        await found.aclose()


async def test_a_session_that_closes_ends_the_calls_under_way() -> None:
    found = sessions(stdio())
    await found.listed(["box"])
    calls = [asyncio.create_task(found.call(tool("hang"), {})) for _ in range(3)]
    await asyncio.sleep(0.5)
    await found.aclose()
    assert {(await each).outcome for each in calls} == {"lost"}


async def test_each_loop_has_sessions_of_its_own() -> None:
    """As the synchronous API has, whose loop is another."""
    found = sessions(stdio())

    async def elsewhere() -> str:
        try:
            return (await found.call(tool("echo"), {"text": "there"})).text
        finally:
            await found.aclose()

    assert (await found.call(tool("echo"), {"text": "here"})).text == "here"
    assert await asyncio.to_thread(asyncio.run, elsewhere()) == "there"
    assert (await found.call(tool("echo"), {"text": "still"})).text == "still"
    await found.aclose()


async def test_what_cannot_be_started_is_told_at_once_the_second_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_sessions, "FIRST_REST", 60.0)
    found = sessions({"command": "scribe-no-such-program"})
    _, problems = await found.listed(["box"])
    assert problems["box"].startswith("MCP server box cannot be reached: ")
    assert "scribe-no-such-program" in problems["box"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        _, again = await found.listed(["box"])
    assert (again, caplog.records) == (problems, [])
    assert (await found.call(tool("echo"), {})).outcome == "not_connected"
    await found.aclose()


async def test_what_a_process_complains_of_is_told() -> None:
    broken = {"command": stdio()["command"], "arguments": ["-c", "raise SystemExit('no licence')"]}
    found = sessions(broken)
    _, problems = await found.listed(["box"])
    assert problems["box"].endswith("(no licence)")
    await found.aclose()


async def test_nobody_listens() -> None:
    found = sessions({"url": "http://127.0.0.1:9/mcp"})
    _, problems = await found.listed(["box"])
    assert problems["box"].startswith("MCP server box cannot be reached: ")
    await found.aclose()


async def test_processes_end_with_their_sessions() -> None:
    found = sessions(stdio())
    before = _children()
    await found.listed(["box"])
    assert len(_children()) == len(before) + 1
    await found.aclose()
    assert _children() == before


def _children() -> set[str]:
    mine = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent == str(os.getpid()):
                mine.add(folder.name)
    return mine

"""Requests with MCP tools, end to end: the model calls, the tool runs, the model is asked again; plain and streamed,
on both lanes. What leaves for the model is looked at, and so is what the client sees."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scribe_router.arrival import arrived
from scribe_router.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    InvalidRequest,
    StreamError,
    Unavailable,
    UpstreamError,
)
from scribe_router.exchange import Call, CallOptions, Json
from scribe_router.explain_past import explained, recorded
from scribe_router.money import usd
from scribe_router.principals import LOCAL, Grant, Principal
from scribe_router.receipt import Receipt
from scribe_router.record import Record
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from scribe_router.tools.rounds import _arguments
from scribe_router.tools.turns import Wish
from scribe_router.upstream.assembly import Assembly
from tests.mcp.servers import executed, stdio
from tests.support.yaml_text import registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENTRY = """
  - model_name: {name}
    litellm_params: {{model: {model}, api_base: BASE{path}, api_key: k}}
    model_info: {{input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}"""
BEHAVIOURS = (
    "tool",
    "tools-2",
    "rounds-3",
    "rounds-99",
    "tool+think",
    "tool+aloud",
    "tools-9",
    "echo",
    "error-500",
    "tool+slow-1s",
)
LANES = {"wire": ("openai/", "/v1"), "litellm": ("anthropic/", "/anthropic")}
CONFIG = "model_list:" + "".join(
    ENTRY.format(name=f"{lane}-{each}", model=wire + each, path=path)
    for lane, (wire, path) in LANES.items()
    for each in BEHAVIOURS
)
ORDINARY = CallOptions()
ONE_BY_ONE = {"parallel_tool_calls": False}
ASK = [{"role": "user", "content": "look it up"}]
SEARCH = 1_000_000  # nano-dollars, by the policy below
OWN = {
    "type": "function",
    "function": {"name": "mine", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}
GRANT = Grant(models=("*",), fields=("mcp_tools",))
STRANGER = Principal("key-of-bob", "bob", "others", GRANT)
ANALYST = Principal("key-of-ann", "ann", "analysts", GRANT)


class Desk:
    """A router with the sandbox's MCP server, and what both received."""

    def __init__(self, router: Router, sandbox: Sandbox, record: Path) -> None:
        self.router, self.sandbox, self.record = router, sandbox, record

    async def ask(
        self,
        model: str,
        *,
        stream: bool = False,
        who: Principal = LOCAL,
        options: CallOptions = ORDINARY,
        **body: Any,
    ) -> tuple[Json, Receipt]:
        """The whole answer, however it came, and its receipt."""
        usage = {"include_usage": True}
        asked = {"model": model, "messages": ASK, "mcp_tools": ["box__web_search"], "stream": stream, **body}
        call = Call("chat", {**asked, "stream_options": usage} if stream else asked, options)
        answer = await self.router.serve(call, who)
        if not isinstance(answer, AnswerStream):
            return answer.body, Receipt.of(answer.exchange)
        assembly = Assembly()
        async for chunk in answer:
            assembly.add(chunk)
        return assembly.answer(), Receipt.of(answer.exchange)

    @property
    def sent(self) -> list[Json]:
        """The bodies that the models received."""
        return [json.loads(each.body) for each in self.sandbox.received]

    @property
    def journal(self) -> list[Json]:
        path = Path(str(self.router.registry.store.journal))
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def executed(self) -> list[str]:
        return executed(self.record)

    async def books_balance(self) -> None:
        """Nothing is held or reserved any more, and the ledger agrees with itself."""
        await self.router.ledger.flush()
        assert await self.router.ledger.check() == []
        assert all(each.reserved == 0 for each in (await self.router.ledger.counters()).values())

    def forget(self) -> None:
        self.sandbox.clear()
        self.record.unlink(missing_ok=True)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def one_desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    record = folder / "record"
    prices = {"web_search": 0.001, "code_interpreter": 0.002, "priced": 0.01, "file_operations": 1}
    row = stdio(record, price="free", prices=prices, reported=True, timeout_seconds=30)
    policy = {
        "servers": {"box": row, "away": {"url": "http://127.0.0.1:9/mcp", "price": "free"}},
        "groups": {"research": {"tools": ["box__web_search"], "teams": ["analysts"]}},
        "rounds": 5,
        "usd": 0.02,
    }
    async with Sandbox() as sandbox:
        text = CONFIG.replace("BASE", sandbox.url)
        policies = {"mcp": json.dumps(policy), "store": "ledger: sqlite:ledger.db\njournal: journal.jsonl"}
        router = Router(registry_from(folder, text, policies))
        yield Desk(router, sandbox, record)
        await router.aclose()


@pytest.fixture
def desk(one_desk: Desk) -> Desk:
    one_desk.forget()
    return one_desk


both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
lanes = pytest.mark.parametrize("lane", LANES)


@both
@lanes
async def test_the_model_gets_what_the_tool_said(desk: Desk, lane: str, *, stream: bool) -> None:
    answer, receipt = await desk.ask(f"{lane}-tool", stream=stream)
    said = answer["choices"][0]
    assert (said["message"]["content"], said["finish_reason"]) == ("the first result for look it up", "stop")
    assert "tool_calls" not in said["message"]
    assert desk.executed == ["web_search"]
    assert (receipt.attempts, receipt.tool_calls, receipt.tool_cost) == (2, 1, SEARCH)
    first, second = desk.sent
    assert [each.get("name") or each["function"]["name"] for each in first["tools"]] == ["box__web_search"]
    assert not {"mcp_tools", "tool_choice"} & (first.keys() | second.keys())
    assert len(second["messages"]) == 3


@both
@lanes
async def test_the_cost_is_that_of_all_rounds_and_tools_and_the_ledgers(desk: Desk, lane: str, *, stream: bool) -> None:
    answer, receipt = await desk.ask(
        f"{lane}-tools-2", stream=stream, mcp_tools=["box__web_search", "box__code_interpreter"]
    )
    usage = answer["usage"]
    tokens = usage["prompt_tokens"] * 1_000 + usage["completion_tokens"] * 2_000
    assert receipt.tool_cost == 3_000_000
    assert receipt.cost == tokens + 3_000_000
    await desk.router.ledger.flush()
    rows = await desk.router.ledger.rows(exchange=receipt.request_id)
    assert sum(row["cost"] for row in rows) == receipt.cost
    tools = {row["tool"]: row for row in rows if row["tool"]}
    assert {name: row["cost"] for name, row in tools.items()} == {
        "box__web_search": 1_000_000,
        "box__code_interpreter": 2_000_000,
    }
    one = tools["box__web_search"]
    assert (one["provider"], one["deployment"], one["outcome"], one["mark"]) == ("mcp", "box", "answered", "computed")
    assert one["raw_usage"]["price"] == "table"
    assert one["raw_usage"]["arguments"] == one["price"]["arguments"]
    assert one["closed"] >= one["opened"]
    assert {row["state"] for row in rows} == {"settled"}
    assert await desk.router.ledger.check() == []


@both
@lanes
async def test_as_many_rounds_as_the_model_wants(desk: Desk, lane: str, *, stream: bool) -> None:
    answer, receipt = await desk.ask(f"{lane}-rounds-3", stream=stream)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert desk.executed == ["web_search"] * 3
    assert (receipt.attempts, receipt.tool_cost) == (4, 3 * SEARCH)
    assert [each for each in receipt.warnings if "same arguments" in each] == [
        "box__web_search was called 3 times with the same arguments"
    ]


@both
async def test_in_the_last_round_nothing_may_be_called(desk: Desk, *, stream: bool) -> None:
    answer, receipt = await desk.ask("wire-rounds-99", stream=stream)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert [each.get("tool_choice") for each in desk.sent] == [None] * 4 + ["none"]
    assert (receipt.attempts, receipt.tool_calls) == (5, 4)


@both
@lanes
async def test_what_is_said_beside_calls_is_the_same_plain_and_streamed(desk: Desk, lane: str, *, stream: bool) -> None:
    answer, _ = await desk.ask(f"{lane}-tool+aloud", stream=stream)
    assert answer["choices"][0]["message"]["content"] == "look it up\n\nthe first result for look it up"


@both
@lanes
async def test_thinking_survives_the_rounds(desk: Desk, lane: str, *, stream: bool) -> None:
    answer, _ = await desk.ask(f"{lane}-tool+think", stream=stream)
    thought = "".join(f"step-{number} " for number in range(1, 11))
    assert answer["choices"][0]["message"]["reasoning_content"] == f"{thought}\n\n{thought}"
    turn = desk.sent[1]["messages"][1]
    if lane == "litellm":
        assert turn["content"][0] == {"type": "thinking", "thinking": thought, "signature": "c2FuZGJveC1zaWduYXR1cmU="}
    hidden, _ = await desk.ask(f"{lane}-tool+think", stream=stream, hide_thinking=True)
    assert "reasoning_content" not in hidden["choices"][0]["message"]
    again = desk.sent[3]["messages"][1]
    if lane == "litellm":
        assert again["content"][0] == turn["content"][0], "hidden from the client, not from the model"
    else:
        assert again.get("reasoning_content") == turn.get("reasoning_content")


@both
async def test_a_turn_with_calls_of_both_runs_none_of_ours(desk: Desk, *, stream: bool) -> None:
    answer, receipt = await desk.ask("wire-tools-9", stream=stream, tools=[OWN])
    choice = answer["choices"][0]
    names = [each["function"]["name"] for each in choice["message"]["tool_calls"]]
    assert (sorted(names), choice["finish_reason"]) == (["box__web_search", "mine"], "tool_calls")
    assert (desk.executed, receipt.tool_calls) == ([], 0)
    assert desk.sent[0]["parallel_tool_calls"] is False


@both
async def test_the_clients_own_tools_are_the_clients(desk: Desk, *, stream: bool) -> None:
    answer, _ = await desk.ask("wire-tool", stream=stream, tools=[OWN])
    call = answer["choices"][0]["message"]["tool_calls"][0]
    assert (call["function"], answer["choices"][0]["finish_reason"]) == (
        {"name": "mine", "arguments": '{"a": "look it up"}'},
        "tool_calls",
    )
    assert desk.executed == []


@both
async def test_a_tool_that_is_forced_is_forced_once(desk: Desk, *, stream: bool) -> None:
    answer, _ = await desk.ask("wire-echo", stream=stream, tool_choice="required")
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert [each.get("tool_choice") for each in desk.sent] == ["required", None]


@both
async def test_a_failed_tool_is_the_models_to_read(desk: Desk, *, stream: bool) -> None:
    answer, receipt = await desk.ask("wire-tool", stream=stream, mcp_tools=["box__fail"])
    assert answer["choices"][0]["message"]["content"] == "look it up"  # what `fail` was given to say
    assert (desk.executed, receipt.tool_cost) == (["fail"], 0)


@pytest.mark.slow
async def test_a_price_that_a_server_reports_counts_up_to_ours(desk: Desk) -> None:
    """The model gives it 0, or a text that is no price; here the tool itself is asked."""
    from scribe_router.exchange import Exchange
    from scribe_router.principals import LOCAL
    from scribe_router.tools.report import call

    rounds = desk.router._rounds
    assert rounds is not None
    for said, cost, mark in (
        (0.004, 4_000_000, "reported"),
        (5, 10_000_000, "reported"),
        ("x", 10_000_000, "computed"),
    ):
        exchange = Exchange("ex-1", Call("chat", {}), LOCAL, "v", 0.0)
        await call(desk.router.registry.mcp, rounds._tools, exchange, "box__priced", {"usd": said})
        assert [(each.cost, each.mark) for each in exchange.tools] == [(cost, mark)]


async def test_a_key_without_the_group_sees_no_tool_and_cannot_guess_one(desk: Desk) -> None:
    answer, _ = await desk.ask("wire-tool", who=ANALYST)
    assert answer["choices"][0]["message"]["content"] == "the first result for look it up"
    desk.forget()
    for name in ("box__web_search", "box", "research", "box__no_such"):
        with pytest.raises(InvalidRequest, match=f"there is no MCP tool, server or group {name} that this request"):
            await desk.ask("wire-tool", who=STRANGER, mcp_tools=[name])
    assert (desk.sent, desk.executed) == ([], [])
    await desk.ask("wire-tool", who=STRANGER, mcp_tools=["*"])
    assert "tools" not in desk.sent[0]
    # A model that names a tool which was not offered gets nowhere: its call is the caller's to make.
    history = [{"role": "user", "content": "x"}]
    answer, _ = await desk.ask("wire-tool", who=ANALYST, messages=history, mcp_tools=["research"])
    assert desk.executed == ["web_search"]


@both
async def test_a_server_that_is_away(desk: Desk, *, stream: bool) -> None:
    with pytest.raises(Unavailable) as refused:
        await desk.ask("wire-tool", stream=stream, mcp_tools=["away__web"])
    assert refused.value.code == "mcp_unavailable"
    _, receipt = await desk.ask("wire-tool", stream=stream, mcp_tools=["box__web_search", "*"])
    assert "MCP server away cannot be asked now, so its tools are missing" in receipt.warnings


@both
async def test_errors_before_anything_is_said_are_plain_errors(desk: Desk, *, stream: bool) -> None:
    for body in ({"mcp_tools": ["nothing"]}, {"n": 2}, {"mcp_tools": "box"}):
        with pytest.raises(InvalidRequest):
            await desk.ask("wire-tool", stream=stream, **body)
    with pytest.raises(UpstreamError):
        await desk.ask("wire-error-500", stream=stream)
    assert desk.executed == []


@both
async def test_tools_that_cannot_be_paid_do_not_run(desk: Desk, *, stream: bool) -> None:
    for model, error in (("wire-tool", BudgetExceeded), ("wire-tool+aloud", StreamError if stream else BudgetExceeded)):
        with pytest.raises(error) as refused:
            await desk.ask(model, stream=stream, mcp_tools=["box__file_operations"])
        told = "policies/mcp.yaml allows 0.02 usd of tools for one request, this one has used 0 and needs 1 more"
        assert told in str(refused.value)
    assert desk.executed == []
    await desk.books_balance()


@both
@pytest.mark.parametrize(
    ("model", "until", "runs"),
    [
        ("wire-tool+slow-1s", lambda desk: desk.sent, []),
        ("wire-tool", lambda desk: desk.executed, ["late"]),
    ],
    ids=["before", "meanwhile"],
)
async def test_for_who_left_no_tool_runs_and_no_model_is_asked(
    desk: Desk, model: str, until: Callable[[Desk], list[Any]], runs: list[str], *, stream: bool
) -> None:
    task = asyncio.create_task(desk.ask(model, stream=stream, mcp_tools=["box__late"], user=f"{model} {stream}"))
    while not until(desk):  # noqa: ASYNC110  (no event tells it)
        await asyncio.sleep(0.01)
    before = len(desk.journal)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while len(desk.journal) == before:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (len(desk.sent), desk.executed) == (1, runs)
    await desk.books_balance()


async def test_a_call_that_is_cancelled_before_its_first_step_is_settled(desk: Desk) -> None:
    """Calls one by one: the second waits for the first, and is cancelled before it was sent."""
    rounds = desk.router._rounds
    assert rounds is not None
    asked = {"model": "wire-tools-2", "messages": ASK, "mcp_tools": ["box__stall", "box__web_search"]}
    exchange = arrived(Call("chat", {**asked, **ONE_BY_ONE}), LOCAL, desk.router.registry, time.time())
    task = asyncio.create_task(desk.router._serve(exchange))
    while "stall" not in desk.executed:  # noqa: ASYNC110  (no event tells it)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await desk.router.ledger.flush()
    rows = [row for row in await desk.router.ledger.rows(limit=10) if row["tool"]][:2]
    assert {row["tool"]: (row["state"], row["outcome"], row["mark"]) for row in rows} == {
        "box__stall": ("settled", "lost", "doubt"),
        "box__web_search": ("settled", "not_connected", "zero"),
    }
    await desk.books_balance()


@both
async def test_a_deadline_is_shorter_than_a_tool(desk: Desk, *, stream: bool) -> None:
    began = time.monotonic()
    with pytest.raises((DeadlineExceeded, StreamError)):
        await desk.ask("wire-tool", stream=stream, mcp_tools=["box__stall"], options=CallOptions(timeout=2.0))
    assert time.monotonic() - began < 30, "the tool would never end"
    await desk.books_balance()


@both
async def test_schemas_reach_both_lanes_as_they_are(desk: Desk, *, stream: bool) -> None:
    """But for its title, of which LiteLLM's translation to Anthropic knows nothing."""
    rounds = desk.router._rounds
    assert rounds is not None
    tools, _ = await rounds.sessions.listed(["box"])
    schema = next(each.schema for each in tools["box"] if each.name == "tidy")
    assert schema["$defs"]["Line"]["additionalProperties"] is False
    for lane in LANES:
        await desk.ask(f"{lane}-echo", stream=stream, mcp_tools=["box__tidy"])
    wire, litellm = desk.sent
    assert wire["tools"][0]["function"]["parameters"] == schema
    assert litellm["tools"][0]["input_schema"] == {name: value for name, value in schema.items() if name != "title"}


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("", {}),
        ("null", {}),
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("[1]", None),
        ("7", None),
        ('{"a": ', None),
        ('{"a": "\\ud800"}', None),
        ("[" * 100_000, None),
        ('{"a": ' * 5_000 + "1" + "}" * 5_000, None),
        ('{"a": %s}' % ("9" * 5_000), None),
    ],
)
async def test_arguments_as_models_write_them(written: str, given: Json | None) -> None:
    assert _arguments(Wish("a", "b", written)) == given


async def test_the_journal_has_one_line_with_the_tools(desk: Desk) -> None:
    _, receipt = await desk.ask("wire-tool")
    lines = [each for each in desk.journal if each["id"] == receipt.request_id]
    assert len(lines) == 1
    assert [(each["function"], each["cost"], each["outcome"]) for each in lines[0]["tools"]] == [
        ("box__web_search", SEARCH, "answered")
    ]
    assert len(lines[0]["attempts"]) == 2
    assert lines[0]["cost_usd"] == usd(receipt.cost or 0)
    past = recorded(desk.router.registry.store.journal, receipt.request_id)
    happened = explained(past, desk.router.registry).partition("what happened\n")[2].splitlines()[1:4]
    assert [line.split()[:2] for line in happened] == [
        ["1.", "wire-tool"],
        ["box__web_search", "mcp"],
        ["2.", "wire-tool"],
    ]
    assert [line.partition("round ")[2][:1] for line in happened] == ["1", "1", "2"]
    assert past == Record.read(past.as_json())


async def test_the_journal_has_the_plan_of_each_round(desk: Desk) -> None:
    _, receipt = await desk.ask("wire-rounds-3")
    past = recorded(desk.router.registry.store.journal, receipt.request_id)
    assert past.plan is not None
    assert len(past.later) == 3
    assert all(made.candidates == past.plan.candidates for made in past.later)
    letters = [made.facts.letters for made in (past.plan, *past.later)]
    assert letters == sorted(set(letters)), "each round says more than the one before"
    told = explained(past, desk.router.registry)
    assert [line for line in told.splitlines() if line.startswith("round")] == [
        f"round {number}: planned like the one before" for number in (2, 3, 4)
    ]
    elsewhere = replace(past.later[1], candidates=(replace(past.plan.candidates[0], deployment="wire-echo"),))
    told = explained(replace(past, later=(past.later[0], elsewhere, past.later[2])), desk.router.registry)
    assert told.count("planned like the one before") == 1
    assert told.count("tried in this order") == 3


async def test_the_journal_has_the_plan_of_a_round_that_failed(desk: Desk) -> None:
    with pytest.raises(UpstreamError) as refused:
        await desk.ask("wire-error-500")
    past = recorded(desk.router.registry.store.journal, refused.value.exchange.id)
    assert past.plan is not None
    assert [each.deployment for each in past.plan.candidates] == ["wire-error-500"]

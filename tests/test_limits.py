"""What a limit does when it is short: another deployment, a cheaper model, a refusal, or nothing but counting."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scribe_router import CallOptions, Router
from scribe_router.errors import BudgetExceeded, RequestError
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")

# One answer is reserved at 64 tokens: more than 64 micro-dollars at `dear`, less than one at `cheap`.
CONFIG = """
model_list:
  - model_name: dear
    litellm_params: {model: openai/echo, api_base: BASE, api_key: k}
    model_info: {id: dear, input_cost_per_token: 0, output_cost_per_token: 1.0e-6}
  - model_name: also
    litellm_params: {model: deepseek/echo, api_base: BASE, api_key: k}
    model_info: {id: also, input_cost_per_token: 0, output_cost_per_token: 1.0e-6}
  - model_name: cheap
    litellm_params: {model: openai/echo, api_base: BASE, api_key: k}
    model_info: {id: cheap, input_cost_per_token: 0, output_cost_per_token: 1.0e-9}
  - model_name: vectors
    litellm_params: {model: openai/embed, api_base: BASE, api_key: k}
    model_info: {id: vectors, mode: embedding, input_cost_per_token: 1.0e-6}
  - model_name: failing
    litellm_params: {model: openai/error-500, api_base: BASE, api_key: k}
    model_info: {id: failing, input_cost_per_token: 0, output_cost_per_token: 1.0e-9}
router_settings:
  fallbacks: [{dear: [also]}, {failing: [dear]}]
"""
RETRIES = "server: {retries: 0}"
MESSAGES = [{"role": "user", "content": "hello"}]
NOTHING = "0.00000007"  # room for a call to `cheap`, none for a call to the others


def built(router: RouterFrom, sandbox: Sandbox, *limits: str, **policies: str) -> Router:
    budgets = f"limits: [{', '.join(f'{{{limit}}}' for limit in limits)}]"
    text = CONFIG.replace("BASE", sandbox.url + "/v1")
    return router(text, {"budgets": budgets, "retries": RETRIES, **policies})


async def ask(router: Router, model: str = "dear", **more: Any) -> Any:
    return await router.acompletion(model=model, messages=MESSAGES, max_tokens=64, **more)


@pytest.mark.parametrize(("scope", "served"), [("provider", "also"), ("model", "also"), ("[user, provider]", "also")])
async def test_where_the_limit_is_of_a_place_another_serves(
    router: RouterFrom, sandbox: Sandbox, scope: str, served: str
) -> None:
    only = "only: {model: [dear]}" if scope == "model" else "only: {provider: [openai]}"
    limited = built(router, sandbox, f"id: place, scope: {scope}, usd: {NOTHING}, when_short: reject, {only}")
    answer = await ask(limited)
    assert answer.scribe.deployment == served
    assert (len(sandbox.received), answer.scribe.attempts) == (1, 1)


async def test_nowhere_else_to_go_is_the_first_refusal(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, f"id: place, scope: provider, usd: {NOTHING}, when_short: reject")
    with pytest.raises(BudgetExceeded, match=r"limit place \(provider:openai, total\) has 0.00000007 of"):
        await ask(limited)
    assert sandbox.received == []


async def test_a_limit_of_a_person_holds_everywhere(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, f"id: person, scope: user, usd: {NOTHING}, when_short: reject")
    with pytest.raises(BudgetExceeded, match="limit person"):
        await ask(limited)
    assert (await ask(limited, "cheap")).scribe.deployment == "cheap"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("actions", ["downgrade", "[clamp, downgrade]", "[downgrade, reject]"])
async def test_a_downgrade_is_served_by_what_it_names(
    router: RouterFrom, sandbox: Sandbox, actions: str, stream: bool
) -> None:
    limit = f"id: person, scope: user, usd: {NOTHING}, when_short: {actions}, downgrade_to: cheap"
    limited = built(router, sandbox, limit)
    answer = await ask(limited, stream=stream)
    if stream:
        assert [chunk async for chunk in answer]
    receipt = answer.scribe
    assert (receipt.deployment, receipt.attempts) == ("cheap", 1)
    assert receipt.warnings == ("limit person is short, so cheap serves",)
    (row,) = await limited.ledger.rows()
    assert (row["deployment"], row["model_name"]) == ("cheap", "cheap")


async def test_a_downgrade_that_is_short_as_well_is_a_refusal(router: RouterFrom, sandbox: Sandbox) -> None:
    limits = (
        f"id: a, scope: [user, model], usd: {NOTHING}, when_short: downgrade, downgrade_to: cheap",
        f"id: b, scope: all, usd: {NOTHING}, when_short: downgrade, downgrade_to: dear",
    )
    limited = built(router, sandbox, *limits)
    with pytest.raises(BudgetExceeded, match=r"this request can cost 0\.0000064 usd"):
        await ask(limited, n=100)
    with pytest.raises(BudgetExceeded):
        await limited.aembedding(model="vectors", input=["hello"] * 50)
    assert sandbox.received == []


async def test_a_downgrade_that_lacks_the_effort_is_a_refusal(router: RouterFrom, sandbox: Sandbox) -> None:
    """`cheap` is told in no way that is known, so under `strict` it cannot stand in: the limit is the reason."""
    limit = f"id: person, scope: user, usd: {NOTHING}, when_short: downgrade, downgrade_to: cheap"
    limited = built(router, sandbox, limit, effort="strict: true")
    with pytest.raises(BudgetExceeded, match="limit person"):
        await ask(limited, "also", reasoning_effort="high")
    assert sandbox.received == []


async def test_after_a_providers_error_the_error_names_the_limit(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, f"id: person, scope: user, usd: {NOTHING}, when_short: reject")
    with pytest.raises(RequestError, match="nothing else was tried: limit person") as caught:
        await ask(limited, "failing")
    assert caught.value.code == "server"


async def test_what_only_observes_counts_and_serves(router: RouterFrom, sandbox: Sandbox) -> None:
    watched = built(router, sandbox, "id: watching, scope: all, usd: 0, when_short: observe")
    await ask(watched)
    await ask(watched, unheard_of=1)
    counter = (await watched.ledger.counters())["watching|all|total"]
    assert (counter.settled, counter.reserved) == (2_000, 0)


async def test_teams_are_told_apart(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, "id: team, scope: team, usd: 0.0001, when_short: reject")
    for name in ("red", "red", "blue", None):
        await ask(limited, options=CallOptions(user="ann", team=name))
    counters = await limited.ledger.counters()
    assert {name: each.settled for name, each in counters.items()} == {
        "team|team:red|total": 2_000,
        "team|team:blue|total": 1_000,
    }


async def test_a_new_limit_begins_with_what_the_rows_say(router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> None:
    store = {"store": f"ledger: sqlite:{tmp_path}/shared.db"}
    before = built(router, sandbox, **store)
    await ask(before, options=CallOptions(team="red"))
    after = built(router, sandbox, "id: t, scope: [team, model], usd: 1", "id: m, scope: model, usd: 1", **store)
    await ask(after, options=CallOptions(team="red"))
    counters = await after.ledger.counters()
    assert {each.settled for each in counters.values()} == {2_000}


@pytest.mark.parametrize("how", ["", "fail: open", "fail: closed"])
async def test_without_the_ledger(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "away.db"
    watched = built(
        router,
        sandbox,
        "id: watching, scope: all, usd: 0, when_short: observe",
        store=f"ledger: sqlite:{path}\n{how}",
    )
    await ask(watched)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        if how == "fail: closed":
            with pytest.raises(RequestError) as caught:
                await ask(watched)
            assert caught.value.code == "store_unavailable"
        else:
            answer = await ask(watched)
            assert answer.scribe.warnings == ("the ledger is away: this request is not recorded",)
            assert "is served without a row" in caplog.text
    await watched.ledger.flush()
    assert sum(row["mark"] == "computed" for row in await watched.ledger.rows()) == 1
    assert await watched.ledger.check() == []


@pytest.mark.parametrize(("cancel", "mark", "finished"), [("drain", "computed", True), ("abort", "abort", False)])
async def test_a_client_that_goes(router: RouterFrom, sandbox: Sandbox, cancel: str, mark: str, finished: bool) -> None:
    text = CONFIG.replace("BASE", sandbox.url + "/v1").replace("openai/echo", "openai/long-40+pace-10ms", 1)
    providers = f"openai: {{wire: openai, lane: wire, cancel: {cancel}, regions: {{}}}}"
    limited = router(text, {"budgets": "limits: [{id: p, scope: user, usd: 1}]", "providers": providers})
    stream = await ask(limited, stream=True)
    await anext(stream)
    await stream.aclose()
    for _ in range(500):
        (row,) = await limited.ledger.rows()
        if row["state"] == "settled":
            break
        await asyncio.sleep(0.02)
    assert (row["mark"], sandbox.received[-1].finished) == (mark, finished)
    assert 0 < row["cost"] <= row["granted"]
    assert (row["cost"] == 40_000) is finished


@pytest.mark.parametrize(("doubt", "cost"), [("bound", 64_000), ("input", 0), ("zero", 0)])
async def test_what_a_lost_reply_counts_for(router: RouterFrom, sandbox: Sandbox, doubt: str, cost: int) -> None:
    text = CONFIG.replace("BASE", sandbox.url + "/v1").replace("openai/echo", "openai/refuse", 1)
    providers = f"openai: {{wire: openai, lane: wire, doubt: {doubt}, regions: {{}}}}"
    limited = router(text, {"budgets": "limits: [{id: p, scope: user, usd: 1}]", "providers": providers})
    with pytest.raises(RequestError):
        await ask(limited, fallback_enabled=False)
    assert {(row["cost"], row["mark"]) for row in await limited.ledger.rows()} == {(cost, "doubt")}

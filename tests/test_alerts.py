"""Alerts over a real ledger and to a real server: each once, whoever tells it; none is lost unsaid."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.alerts import Alerts
from scribe_router.exchange import Mark
from scribe_router.policies.budgets import BudgetsPolicy, Scope, charges
from scribe_router.sandbox import running_sandbox
from scribe_router.stores.contract import Granted, Refused, Settlement
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.upstream.webhook import Webhook
from tests.stores.ledger_rows import row
from tests.support.proxy import serving
from tests.support.webhook import Received, webhook

NOON = 1_795_176_000.0  # 2026-11-20T12:00:00Z: half of the day
CENT = 10_000_000
PATIENCE = 20.0
NAMES: dict[Scope, str] = {"user": "ann", "key": "local", "provider": "sandbox"}


@pytest.fixture
async def hook() -> AsyncIterator[Received]:
    async with webhook() as received:
        yield received


def policy(url: str | None, **limit: Any) -> BudgetsPolicy:
    day = {"id": "day", "scope": "user", "window": "day", "usd": 1, "warn_at": [0.5, 0.8], **limit}
    return BudgetsPolicy.model_validate({"limits": [day], "webhook": url})


class Stage:
    """One ledger, and any number of processes' alerts over it."""

    def __init__(self, path: Path, budgets: BudgetsPolicy) -> None:
        self.path, self.budgets, self.number = path, budgets, 0

    def process(self, now: Callable[[], float] = lambda: NOON, every: float = 0.01) -> tuple[Alerts, SqliteLedger]:
        ledger = SqliteLedger(self.path, sweep_every=3600.0)
        alerts = Alerts(ledger, self.budgets, now)
        alerts.start(every)
        return alerts, ledger

    async def spend(self, alerts: Alerts, cents: int, bound: int | None = None) -> Granted | Refused:
        """An attempt of this cost, within a bound of its own unless another is named."""
        self.number += 1
        name = f"{id(alerts)}-{self.number}"
        scopes = charges(self.budgets.limits, NAMES, NOON)
        most = (cents if bound is None else bound) * CENT
        answer = await alerts.reserve(replace(row(name, most, *scopes), opened=NOON), most)
        if isinstance(answer, Granted):
            alerts.settle(Settlement(name, cents * CENT, Mark.COMPUTED, "answered", NOON))
        return answer


async def until(posts: list[Any], count: int) -> list[str]:
    """The kinds of the posts, once there are this many."""
    async with asyncio.timeout(PATIENCE):
        while len(posts) < count:  # noqa: ASYNC110  (a server fills it)
            await asyncio.sleep(0.01)
    return [f"{post['event']} {post['warn_at'] or ''}".strip() for post in posts]


async def test_each_is_told_once(tmp_path: Path, hook: Received, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path / "l", policy(hook.url))
    alerts, ledger = stage.process()
    await stage.spend(alerts, 40)
    await stage.spend(alerts, 9)
    await stage.spend(alerts, 1)
    assert await until(hook.posts, 1) == ["warning 0.5"]
    await stage.spend(alerts, 1)
    assert await until(hook.posts, 2) == ["warning 0.5", "forecast"]
    await stage.spend(alerts, 40)
    assert isinstance(await stage.spend(alerts, 60), Refused)
    assert isinstance(await stage.spend(alerts, 60), Refused)
    assert sorted(await until(hook.posts, 4)) == ["forecast", "refused", "warning 0.5", "warning 0.8"]
    await stage.spend(alerts, 1)
    await alerts.aclose()
    ledger.close()

    assert len(hook.posts) == len({post["id"] for post in hook.posts}) == 4
    forecast = hook.posts[1]
    assert (forecast["limit"], forecast["scope"], forecast["window"]) == ("day", "user:ann", "2026-11-20")
    assert (forecast["cap_usd"], forecast["spent_usd"], forecast["forecast_usd"]) == ("1", "0.51", "1.02")
    logged = [json.loads(each.getMessage()) for each in caplog.records if each.name == "scribe_router.alerts"]
    assert logged == hook.posts


async def test_a_cost_above_its_bound(tmp_path: Path, hook: Received) -> None:
    stage = Stage(tmp_path / "l", policy(hook.url))
    alerts, ledger = stage.process()
    await stage.spend(alerts, 3, bound=2)
    await stage.spend(alerts, 3, bound=2)
    await until(hook.posts, 1)
    await alerts.aclose()
    ledger.close()
    (post,) = hook.posts
    assert (post["event"], post["bound_usd"], post["cost_usd"]) == ("exceeded", "0.02", "0.03")
    assert (post["deployment"], post["attempt"][:3]) == ("small-eu", str(id(alerts))[:3])


async def test_more_spent_than_the_cap(tmp_path: Path, hook: Received) -> None:
    stage = Stage(tmp_path / "l", policy(hook.url))
    alerts, ledger = stage.process()
    await stage.spend(alerts, 130, bound=90)
    assert (await until(hook.posts, 1))[0] == "exceeded"
    await alerts.aclose()
    ledger.close()
    assert (hook.posts[0]["spent_usd"], len(hook.posts)) == ("1.3", 1)


async def test_a_limit_that_only_observes(tmp_path: Path, hook: Received) -> None:
    """It refuses nothing; that it is passed is all that there is to tell."""
    stage = Stage(tmp_path / "l", policy(hook.url, when_short="observe", window="total", warn_at=[]))
    alerts, ledger = stage.process()
    for _ in range(3):
        assert isinstance(await stage.spend(alerts, 60), Granted)
    await alerts.aclose()
    ledger.close()
    assert [(post["event"], post["cap_usd"]) for post in hook.posts] == [("exceeded", "1")]


async def test_of_several_processes_one_tells(tmp_path: Path, hook: Received) -> None:
    stage = Stage(tmp_path / "l", policy(hook.url, warn_at=0.5))
    both = [stage.process() for _ in range(4)]
    await asyncio.gather(*(stage.spend(alerts, 13) for alerts, _ in both))
    for alerts, ledger in both:
        await alerts.aclose()
        ledger.close()
    later, ledger = stage.process()  # as after a restart
    await stage.spend(later, 1)
    await later.aclose()
    ledger.close()
    assert sorted(await until(hook.posts, 2)) == ["forecast", "warning 0.5"]


async def test_each_user_and_each_window_anew(tmp_path: Path, hook: Received) -> None:
    stage = Stage(tmp_path / "l", policy(hook.url, warn_at=0.5, window="total"))
    alerts, ledger = stage.process()
    for user in ("ann", "bob"):
        scopes = charges(stage.budgets.limits, {**NAMES, "user": user}, NOON)
        await alerts.reserve(row(user, 60 * CENT, *scopes), 60 * CENT)
        alerts.settle(Settlement(user, 60 * CENT, Mark.COMPUTED, "answered", NOON))
    await alerts.aclose()
    ledger.close()
    assert sorted(post["scope"] for post in hook.posts) == ["user:ann", "user:bob"]


async def test_what_the_ledger_cannot_answer_waits(
    tmp_path: Path, hook: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """The file goes away under the alerts and comes back: what was due is told then."""
    stage = Stage(tmp_path / "l", policy(hook.url, warn_at=0.5, window="total"))
    alerts, ledger = stage.process(every=3600.0)
    await stage.spend(alerts, 60)
    await ledger.flush()
    (tmp_path / "l").rename(tmp_path / "away")
    await alerts._look()
    assert "alerts wait for the ledger" in caplog.text
    (tmp_path / "away").rename(tmp_path / "l")
    await alerts.aclose()
    ledger.close()
    assert [post["event"] for post in hook.posts] == ["warning"]


async def test_nothing_is_kept_before_it_starts(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "l", policy(None))
    ledger = SqliteLedger(tmp_path / "l", sweep_every=3600.0)
    alerts = Alerts(ledger, stage.budgets, lambda: NOON)
    await stage.spend(alerts, 60)
    await stage.spend(alerts, 60)
    assert (alerts._open, alerts._touched, alerts._refused) == ({}, set(), {})
    await alerts.aclose()
    ledger.close()


PAYLOAD = {"id": "al-1", "event": "warning"}


async def test_a_post_is_tried_again() -> None:
    async with webhook([503, 429]) as received:
        hook = Webhook(received.url, pauses=(0.01, 0.01))
        hook.post(PAYLOAD)
        await hook.aclose(PATIENCE)
        assert received.posts == [PAYLOAD] * 3


@pytest.mark.parametrize(
    ("statuses", "tries", "reason"),
    [([500] * 9, 3, "status 500"), ([404] * 9, 1, "status 404"), ([302] * 9, 1, "status 302")],
)
async def test_a_post_that_fails_is_logged(
    statuses: list[int], tries: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with webhook(statuses) as received:
        hook = Webhook(received.url + "?secret=swordfish", pauses=(0.01, 0.01))
        hook.post(PAYLOAD)
        await hook.aclose(PATIENCE)
        assert len(received.posts) == tries
    assert f"alert al-1 was not posted to 127.0.0.1: {reason}" in caplog.text
    assert "swordfish" not in caplog.text


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    hook = Webhook("http://127.0.0.1:1/hook", pauses=(0.01,))
    hook.post(PAYLOAD)
    await hook.aclose(PATIENCE)
    assert "alert al-1 was not posted to 127.0.0.1: ClientConnectorError" in caplog.text


async def test_the_end_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    hook = Webhook("http://127.0.0.1:1/hook", pauses=(3600.0,))
    hook.post(PAYLOAD)
    hook.post(PAYLOAD)
    await hook.aclose(0.05)
    assert caplog.text.count("was not posted to 127.0.0.1: the router has ended") == 2


async def test_a_queue_that_is_full_says_so(caplog: pytest.LogCaptureFixture) -> None:
    hook = Webhook("http://127.0.0.1:1/hook", pauses=(3600.0,))
    for _ in range(1002):
        hook.post(PAYLOAD)
    assert caplog.text.count("1000 others wait") == 2
    await hook.aclose(0.0)


CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/max-bill-1000, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 1.0e-6}
"""


@pytest.mark.slow
async def test_two_proxies_tell_once(tmp_path: Path, hook: Received) -> None:
    """Each call costs its whole bound, 100 microdollars; the limit pays for four. What is due is told at the end."""
    with running_sandbox() as sandbox:
        (tmp_path / "litellm_config.yaml").write_text(CONFIG.replace("BASE", sandbox.url + "/v1"))
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:l.sqlite3")
        limits = "limits: [{id: ever, scope: all, usd: 0.0004, when_short: reject, warn_at: [0.5, 1]}]"
        (tmp_path / "policies" / "budgets.yaml").write_text(f"{limits}\nwebhook: os.environ/HOOK")
        await asyncio.to_thread(_calls, tmp_path, {"HOOK": hook.url})
    assert sorted(await until(hook.posts, 3)) == ["refused", "warning 0.5", "warning 1"]
    assert {post["scope"] for post in hook.posts} == {"all"}


def _calls(folder: Path, environment: dict[str, str]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
    with serving(folder, environment=environment) as one, serving(folder, environment=environment) as other:
        answers = [httpx.post(f"{proxy.url}/v1/chat/completions", json=body, timeout=30) for proxy in (one, other) * 3]
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 2
        assert one.stop() == other.stop() == 0

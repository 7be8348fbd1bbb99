"""Accounts over a real ledger, and requests to count with them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scribe_router.accounts import Accounts
from scribe_router.deployment import Deployment
from scribe_router.exchange import Api, Attempt, Call, Exchange, Json
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.principals import Principal
from scribe_router.stores.contract import Counter
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.upstream.shape import Shaped, shape

NOW = 1_795_170_000.0  # 2026-11-20T10:20:00Z
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
IMAGE = {"type": "image_url", "image_url": {"url": "https://host/cat.png"}}
SEEN = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]}
PRICE = (2, 10)  # USD per million tokens


def budgets(*usd: str, when_short: str = "clamp", least: int = 64) -> BudgetsPolicy:
    """Limits per user and day; the first is called `day`."""
    rows = [
        {"id": name, "scope": "user", "window": "day", "usd": amount, "when_short": when_short}
        for name, amount in zip(("day", "wide"), usd, strict=False)
    ]
    return BudgetsPolicy.model_validate({"limits": rows, "minimum_useful_output": least})


@dataclass
class Books:
    """Accounts over one ledger, and one request at a time."""

    ledger: SqliteLedger
    accounts: Accounts
    user: str = "ann"
    number: int = 0

    def ask(self, where: Deployment, body: Json, api: Api = "chat") -> tuple[Exchange, Attempt, Shaped]:
        self.number += 1
        name = f"{self.user}-{self.number}"
        exchange = Exchange(f"ex-{name}", Call(api, body), Principal("key", self.user), "v", NOW)
        attempt = Attempt(f"at-{name}", where.id, where.litellm_model, where.provider, "wire", NOW, "test")
        return exchange, attempt, shape(exchange.call, where)

    async def reserve(
        self, where: Deployment, body: Json, api: Api = "chat", before: Sequence[Attempt] = ()
    ) -> tuple[Attempt, Shaped]:
        exchange, attempt, shaped = self.ask(where, body, api)
        exchange.attempts += before
        return attempt, await self.accounts.reserve(exchange, attempt, shaped)

    async def counter(self) -> tuple[int, int]:
        """(settled, reserved) of the first limit's window."""
        name = f"day|user:{self.user}|2026-11-20"
        found = (await self.ledger.counters()).get(name, Counter(name, 0, 0))
        return found.settled, found.reserved


@pytest.fixture
def books(tmp_path: Path) -> Iterator["Build"]:
    """`books(policy)` keeps books under limits; all of one test are over one ledger."""
    ledger = SqliteLedger(tmp_path / "ledger.db", clock=lambda: NOW, sweep_every=3600.0)
    yield lambda policy: Books(ledger, Accounts(ledger, policy, lambda: NOW))
    ledger.close()


Build = Callable[[BudgetsPolicy], Books]

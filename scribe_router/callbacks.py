"""Our limits, our ledger and our words for reasoning inside LiteLLM's own proxy and Router: `scribe` is the callback.

    litellm_settings:
      callbacks: [scribe_router.callbacks.scribe]      # `scribe-router check --resolved` writes this line

    litellm.callbacks = [scribe]                       # a plain `litellm.Router`

It is one instance for the life of the process: LiteLLM goes on calling the first one, whatever replaces it. What holds
in this situation, and what does not, is in docs/litellm-proxy.md.
"""

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scribe_router.accounts import Accounts
from scribe_router.config.load import load_config
from scribe_router.deployment import Deployment
from scribe_router.errors import BudgetExceeded, ConfigError, InternalError, InvalidRequest, RequestError, Unavailable
from scribe_router.exchange import Attempt, AttemptFailed, Category, Exchange, Json, Reached
from scribe_router.facts import facts
from scribe_router.money import usd
from scribe_router.registry import Registry
from scribe_router.stores import open_ledger
from scribe_router.stores.contract import Ledger, StoreUnavailable
from scribe_router.upstream.callbacks import Hooked, Hooks, Refusal
from scribe_router.upstream.shape import shape

__all__ = ["Books", "Scribe", "scribe"]
_ONCE = 1000
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Books:
    """What the hooks work with: the configuration, the ledger, and the accounts over both."""

    registry: Registry
    ledger: Ledger
    accounts: Accounts

    @property
    def limit(self) -> str | None:
        """A limit that must not be passed; None when nothing is limited."""
        return next((limit.id for limit in self.registry.budgets.enforced), None)


def open_books() -> Books:
    """What SCRIBE_CONFIG and SCRIBE_POLICIES name. Raises `ConfigError`."""
    config = Path(os.environ.get("SCRIBE_CONFIG") or "litellm_config.yaml")
    policies = os.environ.get("SCRIBE_POLICIES")
    registry = load_config(config, Path(policies) if policies else None, os.environ).or_raise()
    ledger = open_ledger(registry.store.url, registry.store.durability)
    accounts = Accounts(ledger, registry.budgets, time.time, needs_ledger=registry.needs_ledger)
    return Books(registry, ledger, accounts)


@dataclass(frozen=True, slots=True)
class _Open:
    """An attempt that is reserved and not yet settled."""

    attempt: Attempt
    deployment: Deployment
    accounts: Accounts


class Scribe(Hooks):
    """Reserves before LiteLLM sends, and settles when it tells how that went. `load` is called at the first call."""

    def __init__(self, load: Callable[[], Books] = open_books) -> None:
        super().__init__()
        self._load, self._lock = load, threading.Lock()
        self._books: Books | None = None
        self._fault: str | None = None
        self._open: dict[str, _Open] = {}
        self._said: set[str] = set()

    def books(self) -> Books:
        """The configuration and the ledger, loaded if they were not. Raises `ConfigError`; the log has it once."""
        with self._lock:
            if self._books is None and self._fault is None:
                try:
                    self._books = self._load()
                except Exception as problem:  # noqa: BLE001  (whatever it is, LiteLLM must not see it)
                    self._fault = str(problem) or type(problem).__name__
                    logger.error("no limit can be kept, so every call is refused: %s", self._fault)
            if self._books is None:
                raise ConfigError((self._fault or "",))
            return self._books

    def close(self) -> None:
        """Commit what is pending and let go of the ledger; the next call reads the configuration anew."""
        with self._lock:
            books, self._books, self._fault = self._books, None, None
        if books is not None:
            books.ledger.close()

    async def reserve(self, hooked: Hooked) -> dict[str, Any] | None:
        """As `Hooks`. What cannot be counted is refused where there is a limit; elsewhere it passes, and the log
        says so once."""
        try:
            books: Books = self._books if self._books is not None else await asyncio.to_thread(self.books)
        except ConfigError as error:
            raise _unreadable() from error
        try:
            return await self._reserve(books, hooked)
        except BudgetExceeded as error:
            raise Refusal(error) from error
        except InvalidRequest as error:
            problem: RequestError = error
        except StoreUnavailable as error:
            problem = Unavailable(str(error), retry_after=1.0)
        except Exception as error:
            logger.exception("a fault of the callbacks")
            problem = InternalError(f"a fault of the router ({type(error).__name__}); its log has more")
        if books.limit is not None:
            raise Refusal(problem)
        self._say(problem.message)
        return None

    async def _reserve(self, books: Books, hooked: Hooked) -> dict[str, Any] | None:
        deployment = self._deployment(books, hooked)
        if deployment is None or hooked.api is None:
            return None
        call = hooked.call(hooked.api)
        attempt = _attempt(deployment)
        exchange = Exchange(hooked.exchange, call, hooked.principal, books.registry.version, attempt.started)
        effort, routing = books.registry.effort, books.registry.routing
        auto = effort.chosen(facts(call, effort, routing))
        shaped = await books.accounts.reserve(exchange, attempt, shape(call, deployment, auto, "litellm"))
        self._open[attempt.id] = _Open(attempt, shaped.deployment, books.accounts)
        try:
            self.mark(hooked, attempt.id)
            return hooked.written(shaped, call.body)
        except BaseException:
            self.settle(attempt.id, None, AttemptFailed(Category.INTERNAL, Reached.NOT_CONNECTED, "it was not sent"))
            raise

    def _deployment(self, books: Books, hooked: Hooked) -> Deployment | None:
        """The deployment that LiteLLM chose; None for what cannot be counted."""
        found = books.registry.chosen(hooked.deployment, hooked.model)
        if hooked.api is None:
            stranger = f"LiteLLM's {hooked.kind} cannot be counted"
        elif found is None or hooked.model not in (found.litellm_model, found.litellm_model.partition("/")[2]):
            stranger = f"{hooked.deployment or hooked.model} is not a deployment of the router's configuration"
        else:
            return found
        if books.limit is not None:
            raise BudgetExceeded(f"{stranger}, so {books.limit} cannot bound its cost", limit=books.limit)
        self._say(stranger)
        return None

    def is_open(self, attempt: str) -> bool:
        return attempt in self._open

    def settle(self, attempt: str, usage: Json | None, failure: AttemptFailed | None) -> None:
        """As `Hooks`: from any thread, and while objects are collected."""
        opened = self._open.pop(attempt, None)
        if opened is None:
            return
        try:
            opened.accounts.settle(opened.attempt, opened.deployment, usage, failure)
        except Exception:
            logger.exception("attempt %s is not settled; its reservation stays until it is swept", attempt)

    async def tool_cost(self, server: str, tool: str) -> float | None:
        """As `Hooks`, by policies/mcp.yaml: LiteLLM may put a server's name before a tool's."""
        try:
            books = self._books if self._books is not None else await asyncio.to_thread(self.books)
        except ConfigError:
            return None
        row = books.registry.mcp.servers.get(server)
        fee = None if row is None else row.fee(tool.removeprefix(f"{server}-"))
        return None if fee is None else float(usd(fee))

    def synchronous(self) -> None:
        try:
            limit = self.books().limit
        except ConfigError as error:
            raise _unreadable() from error
        stranger = "LiteLLM's synchronous calls cannot be counted"
        if limit is not None:
            message = f"{stranger}, so {limit} cannot bound their cost; use the asynchronous ones"
            raise Refusal(BudgetExceeded(message, limit=limit))
        self._say(stranger)

    def _say(self, problem: str) -> None:
        if problem not in self._said and len(self._said) < _ONCE:
            self._said.add(problem)
            logger.warning("a call leaves no row: %s", problem)


def _unreadable() -> Refusal:
    message = "the router's configuration cannot be read, so no limit can be kept; its log has more"
    return Refusal(Unavailable(message, code="configuration", retry_after=60.0))


def _attempt(deployment: Deployment) -> Attempt:
    return Attempt(
        id=f"at-{secrets.token_hex(12)}",
        deployment=deployment.id,
        model=deployment.litellm_model,
        provider=deployment.provider,
        lane="litellm",
        started=time.time(),
        via="litellm",
    )


scribe = Scribe()

"""How callers hear what became of their operations, whatever thread they ran in; what nobody waits for is logged."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from scribe_router.stores.contract import Settlement

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """Settlements with a cost that could not be counted."""

    unknown: int = 0

    def miss(self, settlement: Settlement, text: str) -> None:
        """Count and log it. A zero misses no money: it is what a caller settles whose `reserve` was cancelled."""
        if settlement.cost:
            self.unknown += 1
            logger.error(f"attempt %s: {text}", settlement.attempt, settlement.cost)  # noqa: G004


@dataclass(frozen=True, slots=True)
class Answer:
    """How an operation ended, with a value or with a problem, and what to do when nobody waits for it any more."""

    future: asyncio.Future[Any] | None
    value: Any = None
    problem: Exception | None = None
    unheard: Callable[[], None] | None = None


def deliver(answers: Iterable[Answer]) -> None:
    """Wake those who wait: one call for each event loop. What nobody waits for is logged when it failed."""
    loops: dict[asyncio.AbstractEventLoop, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.future is not None:
            loops[answer.future.get_loop()].append(answer)
        elif answer.problem is not None:
            logger.error("an operation that nobody waits for failed: %s", answer.problem, exc_info=answer.problem)
    for loop, group in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, group)
        except RuntimeError:  # a closed loop
            _unheard(group)


def _resolve(answers: list[Answer]) -> None:
    _unheard(answer for answer in answers if answer.future is None or answer.future.done())
    for answer in answers:
        if answer.future is None or answer.future.done():
            continue
        if answer.problem is None:
            answer.future.set_result(answer.value)
        else:
            answer.future.set_exception(answer.problem)


def _unheard(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if answer.unheard is not None:
            answer.unheard()

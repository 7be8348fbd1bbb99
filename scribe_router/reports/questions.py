"""What is asked of a report, and the answer: for the command line and for HTTP the same. Knows stores and sums."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scribe_router.errors import ScribeError
from scribe_router.names import did_you_mean
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.reports import spend
from scribe_router.stores.contract import Ledger

FORMS: Mapping[str, Callable[[spend.Report], str]] = {
    "table": spend.as_table,
    "csv": spend.as_csv,
    "json": spend.as_json,
}


class WrongArgument(ScribeError):
    """An argument that makes no sense. The message begins with its name."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Question:
    """Sums by these columns, of the rows opened since then (seconds since the epoch), in this form."""

    by: tuple[str, ...]
    since: float
    form: str


def question(by: str, since: str | None, form: str, forms: Collection[str] = tuple(FORMS)) -> Question:
    """What is asked for, read from text. Raises `WrongArgument`."""
    columns = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    for name in columns:
        if name not in spend.COLUMNS and columns != spend.LIMITS:
            known = (*spend.COLUMNS, *spend.LIMITS)
            nothing = f"there is no column {name}{did_you_mean(name, known)}"
            raise WrongArgument("by", "limit stands alone" if name in spend.LIMITS else nothing)
    if form not in forms:
        raise WrongArgument("format", f"{' or '.join(forms)}, not {form}")
    if columns == spend.LIMITS and since is not None:
        raise WrongArgument("since", "a limit counts since its window began; leave this out")
    return Question(columns, 0.0 if since is None else day("since", since), form)


async def answer(ledger: Ledger, budgets: BudgetsPolicy, asked: Question, now: float) -> str:
    """The report as text. Reads the rows a page at a time, and keeps sums only. Raises `StoreUnavailable`."""
    report = spend.Report(asked.by)
    if asked.by != spend.LIMITS:
        report = await spend.summarise(ledger.export(asked.since), asked.by)
    report.limits = spend.standings(budgets, (await ledger.counters()).values(), now)
    return FORMS[asked.form](report)


def day(name: str, text: str) -> float:
    """When a day such as 2026-11-20 begins in UTC. Raises `WrongArgument` with the argument's name."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise WrongArgument(name, f"a day such as 2026-11-20, not {text}") from None

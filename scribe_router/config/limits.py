"""What policies mean for deployments: limits of money that cannot hold, pauses that the deadline has no room for,
models that end."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from urllib.parse import urlsplit

from scribe_router.config.documents import Document
from scribe_router.config.naming import Names
from scribe_router.config.schema import ModelEntry
from scribe_router.deployment import Deployment
from scribe_router.exchange import Category
from scribe_router.names import did_you_mean, matched
from scribe_router.patterns import KINDS
from scribe_router.policies.budgets import BudgetsPolicy, Limit
from scribe_router.policies.cache import CachePolicy
from scribe_router.policies.limits import RateLimit
from scribe_router.policies.migrations import Migration, ending
from scribe_router.policies.prices import bound
from scribe_router.policies.redaction import RedactionPolicy
from scribe_router.policies.retries import Backoff, RetriesPolicy, pause

SMALLEST_CALL = (1_000, 64)  # input tokens that the shortest body is bounded by, output tokens worth having
MIDDLE = 0.5  # the draw that spreads a pause neither way
_WAITED_FOR = (Category.RATE_LIMIT, Category.SERVER, Category.NETWORK, Category.TIMEOUT)


def check_money(
    budgets: BudgetsPolicy,
    limits: Document,
    entries: Document,
    deployments: list[Deployment],
    places: Mapping[str, int],
) -> None:
    """A deployment without a price under a hard limit, and a limit that is smaller than one minimal call."""
    if not budgets.enforced:
        return
    for deployment in deployments:
        if deployment.price is None:
            message = (
                f"{deployment.id} has no price, and policies/budgets.yaml limits money; write it (0 if it is free)"
            )
            entries.report(("model_list", places[deployment.id], "model_info"), message)
    cheapest = min((bound(each.price, *SMALLEST_CALL) for each in deployments if each.price), default=0)
    for index, limit in enumerate(budgets.limits):
        if limit.enforced and limit.cap < cheapest:
            limits.report(("limits", index, "usd"), f"{limit.id}: {limit.usd} usd is less than one minimal call costs")


def check_downgrades(budgets: BudgetsPolicy, document: Document, names: Names) -> None:
    """A limit that names nothing to downgrade to."""
    for index, limit in enumerate(budgets.limits):
        name = limit.downgrade_to
        if name is not None and not names.has(name):
            at = ("limits", index, "downgrade_to")
            document.report(at, f"there is no model, group or alias {name}{did_you_mean(name, names.everything())}")


def check_only(
    limits: Sequence[Limit | RateLimit],
    document: Document,
    entries: Iterable[ModelEntry],
    deployments: Iterable[Deployment],
    names: Names,
) -> None:
    """A limit that is narrowed to a model, a provider or another place that is not there: it would never hold."""
    served = [(each.model_name, each.model_info.id, each.litellm_params.model.partition("/")[0]) for each in entries]
    rows = (*deployments, *(each.row for each in names.wildcards))
    made: dict[str, Callable[[str], bool]] = {
        "model": names.routed,
        "deployment": lambda name: any(matched(each.ids, name) is not None for each in names.wildcards),
    }
    known = {
        "model": {model for model, _, _ in served},
        "deployment": {identity or model for model, identity, _ in served},
        "provider": {provider for _, _, provider in served},
        "account": {each.key_name for each in rows if each.key_name},
    }
    for index, limit in enumerate(limits):
        for scope, values in limit.only.items():
            for place, name in enumerate(values):
                if scope in known and name not in known[scope] and not (scope in made and made[scope](name)):
                    at = ("limits", index, "only", scope, place)
                    hint = did_you_mean(name, known[scope])
                    document.report(at, f"no deployment has the {scope} {name}, so the limit never holds{hint}")


def check_keys_are_elsewhere(access: Document) -> None:
    """Keys that stand in the file, where whoever reads the configuration reads them; a default stands there too."""
    for name in ("master_key", "pepper"):
        written = access.data.get(name) if isinstance(access.data, dict) else None
        reference = access.references.get((name,))
        if isinstance(written, str) and (reference is None or reference.default is not None):
            why = "this stands in the file; keep it in the environment"
            access.report((name,), f"{why}, and write os.environ/SCRIBE_{name.upper()} here")


def check_servers(cache: CachePolicy, document: Document, ledger: str) -> None:
    """A cache on the server of the ledger, which has to keep all that it is given."""
    answers, rows = (set(urlsplit(url).netloc.rpartition("@")[2].split(",")) for url in (cache.redis, ledger))
    if cache.on and cache.store == "redis" and answers & rows:
        why = "it may drop nothing, so answers fill its memory until reservations fail; name another server"
        document.report(("redis",), f"this is the ledger's server: {why}", severity="warning")


def check_kinds(redaction: RedactionPolicy, document: Document) -> None:
    """A kind of private text that nobody has, so that nothing would be found."""
    for place, index, kind in redaction.unknown():
        hint = did_you_mean(kind, (*KINDS, *redaction.own))
        document.report((place, index), f"no pattern is of the kind {kind}{hint}")


def check_pauses(retries: RetriesPolicy, document: Document) -> None:
    """Retries whose pauses alone are longer than the deadline: the last of them are never tried."""
    for category in _WAITED_FOR:
        rule: Backoff = getattr(retries, category.value)
        pauses = [pause(retries, category, n + 1, retry_after=None, draw=MIDDLE) or 0.0 for n in range(rule.retries)]
        if sum(pauses) > retries.deadline_seconds:
            message = (
                f"{rule.retries} retries pause {sum(pauses):g} seconds in all, deadline_seconds is "
                f"{retries.deadline_seconds:g}: the last ones are never tried"
            )
            document.report((category.value,), message, severity="warning")


def check_retirements(
    document: Document,
    entries: list[ModelEntry],
    served_here: Collection[str],
    rows: Mapping[str, Migration],
    today: date,
) -> None:
    """A deployment of a model that its provider switches off within a month, or has. What is `served_here` stays."""
    for index, entry in enumerate(entries):
        provider, _, upstream = entry.litellm_params.model.partition("/")
        message = None if provider in served_here else ending(rows, upstream, today)
        if message is not None:
            document.report(("model_list", index, "litellm_params", "model"), message, severity="warning")

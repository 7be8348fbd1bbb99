"""What is wrong between `policies/routing.yaml` and the rest: names of models, strategies and abilities."""

from collections.abc import Iterable, Iterator

from scribe_router import plugins
from scribe_router.config.documents import Document
from scribe_router.config.naming import Names
from scribe_router.config.problems import Path_
from scribe_router.names import did_you_mean
from scribe_router.policies.experiments import EXPERIMENT
from scribe_router.policies.routing import AUTO, RoutingPolicy
from scribe_router.policies.strategies import BUILT_IN, Strategy

WORKED_OUT = frozenset({"cost", "speed"})  # abilities that need no row


def known_strategies(document: Document) -> dict[str, Strategy]:
    """The built-in strategies and those of installed packages, which may replace a built-in one."""
    try:
        return {**BUILT_IN, **plugins.loaded("strategies")}
    except plugins.BrokenPlugin as error:
        document.report((), str(error))
        return BUILT_IN


def check_routing(routing: RoutingPolicy, document: Document, names: Names, abilities: frozenset[str]) -> None:
    """Report what names nothing."""
    for path, name in _models(routing):
        if not names.has(name) and not (path == ("default_model",) and name == AUTO and routing.auto):
            hint = did_you_mean(name, names.everything())
            document.report(path, f"there is no model, group or alias {name}{hint}")
    for name in routing.strategies:
        if not names.has(name):
            what = f"there is no model, group or alias {name}{did_you_mean(name, names.everything())}"
            document.report(("strategies", name), what, key=True)
    strategies = (*BUILT_IN, *plugins.names("strategies"))
    for path, name in (
        *_at("strategies", routing.strategies.items()),
        *_at("optimize_for", routing.optimize_for.items()),
    ):
        if name not in strategies:
            there = did_you_mean(name, strategies) or f"; there are {', '.join(sorted(strategies))}"
            there = "; policies/experiments.yaml says what each experiment is on" if name == EXPERIMENT else there
            document.report(path, f"there is no strategy {name}{there}")
    for task, weights in routing.weights.items():
        for ability in weights:
            if ability not in abilities | WORKED_OUT:
                hint = did_you_mean(ability, abilities | WORKED_OUT) or "; no row of capabilities.yaml names it"
                document.report(("weights", task, ability), f"there is no ability {ability}{hint}", key=True)


def _models(routing: RoutingPolicy) -> Iterator[tuple[Path_, str]]:
    for field in ("default_model", "default_embedding_model"):
        if (name := getattr(routing, field)) is not None:
            yield (field,), name
    for index, choice in enumerate(routing.auto):
        yield ("auto", index, "model"), choice.model


def _at(field: str, items: Iterable[tuple[str, str]]) -> Iterator[tuple[Path_, str]]:
    return (((field, key), value) for key, value in items)

"""Files in, registry out: reads everything, reports every problem of every file at once, builds only what is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scribe_router.config.chains import Chains
from scribe_router.config.deployments import Compiler, Known, left_out
from scribe_router.config.experiments import check_experiments
from scribe_router.config.files import KNOWLEDGE, POLICIES, Files
from scribe_router.config.hosting import check_rows, hosts_of
from scribe_router.config.knowledge import Prices
from scribe_router.config.limits import (
    check_downgrades,
    check_keys_are_elsewhere,
    check_kinds,
    check_money,
    check_only,
    check_pauses,
    check_retirements,
    check_servers,
)
from scribe_router.config.naming import Names
from scribe_router.config.problems import Problem
from scribe_router.config.residency import check_promises, check_traces
from scribe_router.config.resolved import with_headers
from scribe_router.config.routing import check_routing, known_strategies
from scribe_router.config.schema import LiteLLMConfig, StoreSettings
from scribe_router.config.tools import check_tools
from scribe_router.deployment import Deployment, Wildcard
from scribe_router.errors import ConfigError
from scribe_router.names import did_you_mean
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.breaker import BreakerPolicy
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.cache import CachePolicy
from scribe_router.policies.capabilities import CapabilitiesKnowledge
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.experiments import ExperimentsPolicy
from scribe_router.policies.features import FeaturesPolicy
from scribe_router.policies.health import HealthPolicy
from scribe_router.policies.limits import LimitsPolicy
from scribe_router.policies.mcp import McpPolicy
from scribe_router.policies.migrations import MigrationsKnowledge
from scribe_router.policies.providers import ProvidersKnowledge
from scribe_router.policies.reasoning import ReasoningKnowledge
from scribe_router.policies.redaction import RedactionPolicy
from scribe_router.policies.residency import ResidencyPolicy
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.policies.strategies import Strategy
from scribe_router.policies.tokens import TokensKnowledge
from scribe_router.registry import Keep, Registry, Store

__all__ = ["KNOWLEDGE", "POLICIES", "Loaded", "load_config"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The registry, or None when there are errors; `problems` in the order of files, lines and columns.

    `source` is `litellm_config.yaml` as it was read, with the headers that providers' rows add. `prices` and
    `self_hosted` (providers) are for reports on prices.
    """

    registry: Registry | None
    problems: tuple[Problem, ...]
    source: Mapping[str, Any]
    prices: Prices
    self_hosted: frozenset[str] = frozenset()

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    def or_raise(self) -> Registry:
        """The registry. Raises `ConfigError` with every error."""
        if self.registry is None:
            raise ConfigError(tuple(str(problem) for problem in self.errors))
        return self.registry


def load_config(
    config: Path,
    policies: Path | None = None,
    environment: Mapping[str, str] | None = None,
    today: date | None = None,
) -> Loaded:
    """Read `litellm_config.yaml` and the policies beside it (or in `policies`). With `today`, models whose last day is
    near or past are warnings."""
    files = Files(config, policies if policies is not None else config.parent / "policies", environment or {})
    building = _Building(files)
    if today is not None:
        building.check_retirements(today)
    registry = building.registry()
    rows = building.providers.root if building.providers is not None else {}
    self_hosted = frozenset(name for name, row in rows.items() if row.self_hosted)
    return Loaded(registry, files.problems, building.source, building.prices, self_hosted)


class _Building:
    """One configuration on its way from files to a registry."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.config, self.main, self.source = files.main()
        files.strangers()
        self.providers, self.provider_rows = files.knowledge("providers", ProvidersKnowledge)
        self.migrations, _ = files.knowledge("migrations", MigrationsKnowledge)
        self.reasoning, _ = files.knowledge("reasoning", ReasoningKnowledge)
        self.capabilities, _ = files.knowledge("capabilities", CapabilitiesKnowledge)
        self.tokens, _ = files.knowledge("tokens", TokensKnowledge)
        self.prices = files.prices(self.providers.root if self.providers is not None else ())
        self.routing, self.routing_file = files.policy("routing", RoutingPolicy)
        self.budgets, self.budgets_file = files.policy("budgets", BudgetsPolicy)
        self.cache, self.cache_file = files.policy("cache", CachePolicy)
        self.effort, self.effort_file = files.policy("effort", EffortPolicy)
        experiments, self.experiments_file = files.policy("experiments", ExperimentsPolicy)
        self.experiments = experiments or ExperimentsPolicy()
        self.features, _ = files.policy("features", FeaturesPolicy)
        limits, self.limits_file = files.policy("limits", LimitsPolicy)
        self.limits = limits or LimitsPolicy()
        self.mcp, self.mcp_file = files.policy("mcp", McpPolicy)
        self.retries, self.retries_file = files.policy("retries", RetriesPolicy)
        self.redaction, self.redaction_file = files.policy("redaction", RedactionPolicy)
        residency, self.residency_file = files.policy("residency", ResidencyPolicy)
        self.residency = residency or ResidencyPolicy()
        self.store, self.store_file = files.policy("store", StoreSettings)
        self.access, access_file = files.policy("access", AccessPolicy)
        check_keys_are_elsewhere(access_file)
        self.breaker, _ = files.policy("breaker", BreakerPolicy)
        self.health, self.health_file = files.policy("health", HealthPolicy)

    def registry(self) -> Registry | None:
        """The registry, or None when anything is wrong."""
        if self.retries is not None:
            check_pauses(self.retries, self.retries_file)
        if self.mcp is not None:
            check_tools(self.mcp, self.mcp_file)
        if self.cache is not None and self.store is not None:
            check_servers(self.cache, self.cache_file, self.store.ledger)
        if self.redaction is not None:
            check_kinds(self.redaction, self.redaction_file)
        cached = (self.cache or CachePolicy(), self.cache_file)
        check_traces(self.residency, self.residency_file, *cached, self.files.environment)
        if self.config is None:
            return None
        deployments, wildcards = self._deployments(self.config)
        names, chains = self._names(self.config, deployments, wildcards)
        self._check_policies(self.config, deployments, names)
        check_promises(self.residency, self.residency_file, names, chains)
        strategies = known_strategies(self.routing_file)
        if self.files.failed:
            return None
        return self._compiled(deployments, names, chains, strategies)

    def _deployments(self, config: LiteLLMConfig) -> tuple[list[Deployment], list[Wildcard]]:
        if self.providers is None:
            return [], []
        check_rows(self.provider_rows)
        hosts, routing = hosts_of(self.provider_rows), self.routing or RoutingPolicy()
        known = Known(
            providers=self.providers.root,
            hosts=hosts,
            prices=self.prices.table,
            routing=routing,
            reasoning=self.reasoning or ReasoningKnowledge({}),
            effort=self.effort or EffortPolicy(),
            features=self.features or FeaturesPolicy(),
            capabilities=self.capabilities or CapabilitiesKnowledge({}),
            tokens=self.tokens or TokensKnowledge({}),
            environment=self.files.environment,
        )
        self.source = with_headers(self.source, self.providers.root, self.provider_rows)
        return Compiler(self.main, known).deployments(config.model_list)

    def _names(
        self, config: LiteLLMConfig, deployments: list[Deployment], wildcards: list[Wildcard]
    ) -> tuple[Names, Chains]:
        names = Names(self.main, config, deployments, wildcards)
        chains = Chains(names, config)
        names.check()
        chains.check()
        return names, chains

    def check_retirements(self, today: date) -> None:
        """Warn of deployments of models that are near their end, or past it."""
        if self.config is not None and self.migrations is not None and self.providers is not None:
            served_here = {name for name, row in self.providers.root.items() if row.self_hosted}
            check_retirements(self.main, self.config.model_list, served_here, self.migrations.root, today)

    def _check_policies(self, config: LiteLLMConfig, deployments: list[Deployment], names: Names) -> None:
        places = {entry.model_info.id or entry.model_name: index for index, entry in enumerate(config.model_list)}
        if self.budgets is not None:
            check_money(self.budgets, self.budgets_file, self.main, deployments, places)
            check_downgrades(self.budgets, self.budgets_file, names)
            check_only(self.budgets.limits, self.budgets_file, config.model_list, deployments, names)
            if self.budgets.enforced and self.store is not None and self.store.fail == "open":
                name = self.budgets.enforced[0].id
                why = f"limit {name} cannot hold while the ledger is away; let it observe, or fail closed"
                self.store_file.report(("fail",), why)
        check_only(self.limits.limits, self.limits_file, config.model_list, deployments, names)
        if self.effort is not None and self.providers is not None:
            known = (*self.providers.root, *names.models)
            for name in self.effort.defaults:
                if name not in known and not names.routed(name):
                    hint = did_you_mean(name, known)
                    self.effort_file.report(("defaults", name), f"there is no model or provider {name}{hint}", key=True)
        if self.routing is not None:
            check_routing(self.routing, self.routing_file, names, self._abilities())
        check_experiments(self.experiments, self.experiments_file, names)
        if self.access is not None and self.access.on_missing_key == "error":
            for each in (*deployments, *(wildcard.row for wildcard in names.wildcards)):
                if each.missing:
                    path = ("model_list", places[each.id], "litellm_params")
                    why = "policies/access.yaml exists, so a deployment without its key is an error"
                    self.main.report(path, f"{each.missing}; {why}")

    def _abilities(self) -> frozenset[str]:
        return self.capabilities.names() if self.capabilities is not None else frozenset()

    def _compiled(
        self, deployments: list[Deployment], names: Names, chains: Chains, strategies: Mapping[str, Strategy]
    ) -> Registry:
        rows = [*deployments, *(each.row for each in names.wildcards)]
        return Registry(
            version=self.files.version(f"{each.id}: {each.missing}" for each in rows if each.missing),
            deployments=MappingProxyType({each.id: each for each in deployments}),
            models=MappingProxyType({name: tuple(each.id for each in rows) for name, rows in names.models.items()}),
            groups=MappingProxyType(names.compiled()),
            aliases=MappingProxyType(names.aliases),
            hidden=names.hidden,
            fallbacks=MappingProxyType(chains.compiled()),
            last_resort=chains.last_resort(),
            migrations=MappingProxyType(self.migrations.root if self.migrations is not None else {}),
            budgets=self.budgets or BudgetsPolicy(),
            retries=self.retries or RetriesPolicy(),
            routing=self.routing or RoutingPolicy(),
            access=self.access,
            store=_store(self.store or StoreSettings(), self.files.path.parent.absolute()),
            effort=self.effort or EffortPolicy(),
            experiments=self.experiments,
            strategies=MappingProxyType(strategies),
            features=self.features or FeaturesPolicy(),
            limits=self.limits,
            mcp=self.mcp or McpPolicy(),
            breaker=self.breaker,
            redaction=self.redaction,
            residency=self.residency,
            health=self.health or HealthPolicy(),
            cache=_cache(self.cache or CachePolicy(), self.files.path.parent.absolute()),
            price_map=self.prices.map.sha256,
            wildcards=tuple(names.wildcards),
            warnings=tuple(left_out(rows)),
        )


def _cache(policy: CachePolicy, folder: Path) -> CachePolicy:
    return policy.model_copy(update={"path": str(folder / policy.path)})


def _store(settings: StoreSettings, folder: Path) -> Store:
    scheme, _, path = settings.ledger.partition(":")
    url = f"sqlite:{folder / path}" if scheme == "sqlite" else settings.ledger
    journal = str(folder / settings.journal) if settings.journal else None
    keep = Keep(round(settings.journal_megabytes * 1e6), settings.journal_files, settings.journal_days * 86_400.0)
    audit = str(folder / settings.audit) if settings.audit else None
    return Store(url, journal, settings.durability, settings.fail, keep, audit)

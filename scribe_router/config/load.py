"""Files in, registry out: reads everything, reports every problem of every file at once, builds only what is right."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel

from scribe_router.config.deployments import Compiler, Known, left_out
from scribe_router.config.documents import Document, load
from scribe_router.config.knowledge import overlaid, price_map
from scribe_router.config.meaning import Names, check_money
from scribe_router.config.problems import Problem
from scribe_router.config.references import resolve
from scribe_router.config.schema import LiteLLMConfig, StoreSettings
from scribe_router.config.shapes import validate
from scribe_router.errors import ConfigError
from scribe_router.names import did_you_mean
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.migrations import MigrationsKnowledge
from scribe_router.policies.providers import ProvidersKnowledge
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.registry import Deployment, Registry, Store

KNOWLEDGE: Mapping[str, type[BaseModel] | None] = {
    "providers": ProvidersKnowledge,
    "migrations": MigrationsKnowledge,
    "prices": None,
}
POLICIES: Mapping[str, type[BaseModel]] = {
    "access": AccessPolicy,
    "budgets": BudgetsPolicy,
    "retries": RetriesPolicy,
    "routing": RoutingPolicy,
    "store": StoreSettings,
}
P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The registry, or None when there are errors; `problems` in the order of files, lines and columns.

    `source` is `litellm_config.yaml` as it was read.
    """

    registry: Registry | None
    problems: tuple[Problem, ...]
    source: Mapping[str, Any]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    def or_raise(self) -> Registry:
        """The registry. Raises `ConfigError` with every error."""
        if self.registry is None:
            raise ConfigError(tuple(str(problem) for problem in self.errors))
        return self.registry


def load_config(config: Path, policies: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read `litellm_config.yaml` and the policies beside it (or in `policies`)."""
    loader = _Loader(config, policies if policies is not None else config.parent / "policies", environment or {})
    registry = loader.registry()
    problems = tuple(sorted({problem for document in loader.documents for problem in document.problems}))
    failed = any(problem.severity == "error" for problem in problems)
    source = loader.documents[0].data
    return Loaded(None if failed else registry, problems, source if isinstance(source, Mapping) else {})


class _Loader:
    def __init__(self, config: Path, policies: Path, environment: Mapping[str, str]) -> None:
        self.path, self.policies, self.environment = config, policies, environment
        self.documents: list[Document] = []

    def registry(self) -> Registry | None:
        main = self._keep(load(self.path, str(self.path)))
        config = validate(main, LiteLLMConfig) if not main.problems else None
        self._strangers()
        providers = self._knowledge("providers", ProvidersKnowledge)
        migrations = self._knowledge("migrations", MigrationsKnowledge)
        prices = self._prices()
        routing, routing_file = self._policy("routing", RoutingPolicy)
        budgets, budgets_file = self._policy("budgets", BudgetsPolicy)
        retries, _ = self._policy("retries", RetriesPolicy)
        store, _ = self._policy("store", StoreSettings)
        access, access_file = self._policy("access", AccessPolicy) if self._file("access").exists() else (None, None)
        if config is None or providers is None or migrations is None:
            return None
        known = Known(providers.root, prices, routing or RoutingPolicy(), self.environment)
        deployments = Compiler(main, known).deployments(config.model_list)
        names = Names(main, config, deployments)
        names.check()
        self._defaults(names, routing, routing_file)
        places = {entry.model_info.id or entry.model_name: index for index, entry in enumerate(config.model_list)}
        check_money(budgets or BudgetsPolicy(), budgets_file, main, deployments, places)
        if access is not None and access_file is not None and access.on_missing_key == "error":
            self._missing_keys(main, deployments, places)
        if any(problem.severity == "error" for document in self.documents for problem in document.problems):
            return None
        return Registry(
            version=self._version(),
            deployments=MappingProxyType({each.id: each for each in deployments}),
            models=MappingProxyType({name: tuple(each.id for each in rows) for name, rows in names.models.items()}),
            groups=MappingProxyType(names.compiled_groups()),
            aliases=MappingProxyType(names.aliases),
            hidden=names.hidden,
            fallbacks=MappingProxyType(names.compiled_fallbacks()),
            last_resort=names.last_resort(),
            migrations=MappingProxyType(migrations.root),
            budgets=budgets or BudgetsPolicy(),
            retries=retries or RetriesPolicy(),
            routing=routing or RoutingPolicy(),
            access=access,
            store=self._store(store or StoreSettings()),
            price_map=price_map().sha256,
            warnings=tuple(left_out(deployments)),
        )

    def _keep(self, document: Document) -> Document:
        self.documents.append(document)
        return document

    def _file(self, name: str) -> Path:
        return self.policies / f"{name}.yaml"

    def _shown(self, name: str) -> str:
        return str(self._file(name))

    def _strangers(self) -> None:
        known = (*KNOWLEDGE, *POLICIES)
        for path in sorted(self.policies.glob("*.y*ml")) if self.policies.is_dir() else ():
            if path.stem not in known or path.suffix != ".yaml":
                hint = did_you_mean(path.stem, known)
                close = f"{hint[:-1]}.yaml?" if hint else f"; there are {', '.join(known)}"
                self._keep(Document(str(path))).problems.append(
                    Problem(str(path), 1, 1, "", f"no policy has this name{close}")
                )

    def _knowledge(self, name: str, shape: type[P]) -> P | None:
        document = self._keep(resolve(overlaid(name, self.policies, self._shown(name)), self.environment))
        return validate(document, shape) if not document.problems else None

    def _prices(self) -> Mapping[str, Mapping[str, Any]]:
        document = self._keep(overlaid("prices", self.policies, self._shown("prices")))
        table = price_map()
        if not table.checked:
            message = f"LiteLLM's price map is not the one this version was checked with (sha256 {table.sha256[:12]}…)"
            document.problems.append(document.problem((), message, severity="warning"))
        own = document.data if isinstance(document.data, dict) else {}
        return {**table.entries, **{name: _as_decimals(row) for name, row in own.items() if isinstance(row, dict)}}

    def _policy(self, name: str, shape: type[P]) -> tuple[P | None, Document]:
        path = self._file(name)
        if not path.exists():
            return None, Document(str(path), {})
        document = self._keep(resolve(load(path, self._shown(name)), self.environment))
        return (validate(document, shape) if not document.problems else None), document

    def _defaults(self, names: Names, routing: RoutingPolicy | None, document: Document) -> None:
        for field in ("default_model", "default_embedding_model"):
            name = getattr(routing, field, None)
            if name is not None and name not in names.everything():
                hint = did_you_mean(name, names.everything())
                document.problems.append(document.problem((field,), f"there is no model, group or alias {name}{hint}"))

    def _missing_keys(self, main: Document, deployments: list[Deployment], places: Mapping[str, int]) -> None:
        for each in deployments:
            if each.missing:
                message = f"{each.missing}; policies/access.yaml exists, so a deployment without its key is an error"
                main.problems.append(main.problem(("model_list", places[each.id], "litellm_params"), message))

    def _store(self, settings: StoreSettings) -> Store:
        def beside(path: str) -> str:
            return str(Path(path) if Path(path).is_absolute() else self.path.parent.absolute() / path)

        scheme, _, rest = settings.ledger.partition(":")
        return Store(f"{scheme}:{beside(rest)}", beside(settings.journal) if settings.journal else None)

    def _version(self) -> str:
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(json.dumps(document.data, sort_keys=True, default=str).encode())
        return digest.hexdigest()[:12]


def _as_decimals(row: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(row), parse_float=Decimal)  # type: ignore[no-any-return]

"""Every file of a configuration, read once: `litellm_config.yaml`, knowledge over what is shipped, policies."""

import copy
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from scribe_router.config import catalogue
from scribe_router.config.documents import Document, load
from scribe_router.config.knowledge import OWN_PRICE_MAP, PriceMap, Prices, overlaid, price_map, price_map_of, priced
from scribe_router.config.problems import Problem
from scribe_router.config.references import resolve, substitute
from scribe_router.config.schema import LiteLLMConfig, PricesKnowledge, StoreSettings
from scribe_router.config.secrets import sources
from scribe_router.config.shapes import validate
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
from scribe_router.policies.tokens import TokensKnowledge
from scribe_router.secrets import SecretsSettings, Sources

KNOWLEDGE: Mapping[str, type[BaseModel]] = {
    "providers": ProvidersKnowledge,
    "migrations": MigrationsKnowledge,
    "prices": PricesKnowledge,
    "reasoning": ReasoningKnowledge,
    "capabilities": CapabilitiesKnowledge,
    "tokens": TokensKnowledge,
}
POLICIES: Mapping[str, type[BaseModel]] = {
    "access": AccessPolicy,
    "breaker": BreakerPolicy,
    "budgets": BudgetsPolicy,
    "cache": CachePolicy,
    "effort": EffortPolicy,
    "experiments": ExperimentsPolicy,
    "features": FeaturesPolicy,
    "health": HealthPolicy,
    "limits": LimitsPolicy,
    "mcp": McpPolicy,
    "redaction": RedactionPolicy,
    "residency": ResidencyPolicy,
    "retries": RetriesPolicy,
    "routing": RoutingPolicy,
    "secrets": SecretsSettings,
    "store": StoreSettings,
}
P = TypeVar("P", bound=BaseModel)


class Files:
    """Reads files as they are asked for and keeps every document, with its problems."""

    def __init__(self, config: Path, policies: Path, environment: Mapping[str, str]) -> None:
        self.path, self.policies = config, policies
        self.documents: list[Document] = []
        self.sources = self._sources(environment)
        self.environment = self.sources.environment
        self.price_map = price_map()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the order of files, lines and columns."""
        return tuple(sorted({problem for document in self.documents for problem in document.problems}))

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def main(self) -> tuple[LiteLLMConfig | None, Document, dict[str, Any]]:
        """`litellm_config.yaml`, its document, and its data as it was written."""
        document = self._keep(load(self.path, str(self.path), shared=True))
        source = copy.deepcopy(document.data) if isinstance(document.data, dict) else {}
        entries = source.get("model_list")
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping) and isinstance(entry.get("litellm_params"), Mapping):
                substitute(document, self.sources, ("model_list", index, "litellm_params"))
        return validate(document, LiteLLMConfig), document, source

    def knowledge(self, name: str, shape: type[P]) -> tuple[P | None, Document]:
        """A file of knowledge over the shipped one."""
        document = self._laid(name)
        return validate(document, shape), document

    def prices(self, providers: Collection[str]) -> Prices:
        """The price map and the catalogues of `providers`, under `prices.yaml`."""
        self.price_map = self._price_map()
        return priced(self._laid("prices"), self.price_map, self._catalogues(providers))

    def _catalogues(self, providers: Collection[str]) -> dict[str, Any]:
        """What providers themselves say that they sell, as rows of the price map."""
        found: dict[str, Any] = {}
        for path in sorted((self.policies / catalogue.FOLDER).glob("*.json")):
            document = self._keep(Document(str(path)))
            try:
                document.data = catalogue.read(path)
                found |= catalogue.rows(path.stem, document.data)
            except (OSError, ValueError) as error:
                document.report((), str(error))
            if path.stem not in providers:
                hint = did_you_mean(path.stem, providers)
                document.report((), f"no row in policies/providers.yaml has this name{hint}", severity="warning")
        return found

    def _price_map(self) -> PriceMap:
        try:
            return price_map_of(self.policies)
        except (OSError, ValueError) as error:
            self._keep(Document(str(self.policies / OWN_PRICE_MAP))).report((), str(error))
            return price_map()

    def policy(self, name: str, shape: type[P]) -> tuple[P | None, Document]:
        """A policy; None when its file is absent or wrong."""
        path = self._file(name)
        if not path.exists():
            return None, Document(str(path), {})
        document = self._keep(resolve(load(path), self.sources))
        return validate(document, shape), document

    def strangers(self) -> None:
        """A problem for each YAML file in `policies/` that no policy reads."""
        known = (*KNOWLEDGE, *POLICIES)
        for path in sorted(self.policies.glob("*.y*ml")) if self.policies.is_dir() else ():
            if path.stem not in known or path.suffix != ".yaml":
                hint = did_you_mean(path.stem, known)
                close = f"{hint[:-1]}.yaml?" if hint else f"; there are {', '.join(sorted(known))}"
                self._keep(Document(str(path))).report((), f"no policy has this name{close}")

    def version(self, missing: Iterable[str]) -> str:
        """A short hash of everything that was read, and of what is `missing` in the environment."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(json.dumps(document.data, sort_keys=True).encode())
        if self.price_map.own:
            digest.update(self.price_map.sha256.encode())
        for each in missing:
            digest.update(each.encode())
        return digest.hexdigest()[:12]

    def _sources(self, environment: Mapping[str, str]) -> Sources:
        path = self._file("secrets")
        document = self._keep(load(path)) if path.exists() else Document(str(path), {})
        return sources(document, self.path.parent, environment)

    def _laid(self, name: str) -> Document:
        return self._keep(resolve(overlaid(name, self.policies, str(self._file(name))), self.sources))

    def _keep(self, document: Document) -> Document:
        self.documents.append(document)
        return document

    def _file(self, name: str) -> Path:
        return self.policies / f"{name}.yaml"

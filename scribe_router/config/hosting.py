"""Where a deployment is: its provider, region, host and key. Knows providers' rows and the environment, no prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scribe_router import plugins
from scribe_router.config.documents import Document, Reference
from scribe_router.config.facts import Placed
from scribe_router.config.problems import Path_
from scribe_router.config.schema import ModelEntry
from scribe_router.litellm_names import PROVIDERS
from scribe_router.names import did_you_mean
from scribe_router.policies.providers import Provider, Region

Hosts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Hosting:
    """`region` is its name and its row. `missing` says why the deployment cannot be used, in one line."""

    provider: Provider
    region: Placed
    api_base: str | None
    key_name: str | None
    key: str | None
    missing: str | None


def hosts_of(rows: Document) -> Hosts:
    """Provider to host to region, of a resolved `providers.yaml`: the hosts in use, and the shipped ones behind them.

    A variable that moves a region elsewhere does not make its own host a stranger.
    """
    hosts: dict[str, dict[str, str]] = {}
    for prefix, row in rows.data.items():
        regions = row.get("regions") or {}
        for name, region in regions.items():
            reference = rows.references.get((prefix, "regions", name, "api_base"))
            for base in (region.get("api_base"), reference.default if reference is not None else None):
                if base and (host := _host(base)):
                    hosts.setdefault(prefix, {}).setdefault(host, name)
    return hosts


class Finder:
    """Finds the hosting of one entry; mistakes are added to the document."""

    def __init__(
        self,
        document: Document,
        path: Path_,
        entry: ModelEntry,
        provider: Provider,
        hosts: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        self.document, self.path, self.provider = document, path, provider
        self.params, self.info = entry.litellm_params, entry.model_info
        self.prefix = entry.litellm_params.model.partition("/")[0]
        self.hosts, self.environment = hosts, environment

    def find(self) -> Hosting:
        base, unset = self._base()
        region = self._region(base, elsewhere=base is not None or unset is not None)
        row = self.provider.regions[region] if region is not None else None
        if base is None and unset is None:
            base = self._base_of(row)
        key_name, key, missing = self._key(region, row)
        missing = f"{unset} is not set" if unset else missing
        return Hosting(self.provider, (region, row), base, key_name, key, missing)

    def _problem(self, place: Path_, message: str) -> None:
        self.document.report((*self.path, *place), message)

    def _reference(self, name: str) -> Reference | None:
        return self.document.references.get((*self.path, "litellm_params", name))

    def _base(self) -> tuple[str | None, str | None]:
        """The deployment's own address, or the variable that would name it."""
        params = self.params
        if params.api_base and params.base_url:
            self._problem(("litellm_params", "base_url"), "api_base is there too; keep one of them")
        name = "base_url" if params.base_url or self._reference("base_url") else "api_base"
        reference, base = self._reference(name), getattr(params, name)
        if base:
            mistake = _bad_address(base)
            if mistake and reference is not None:
                mistake = f"expected http://host or https://host in {reference.name}"
            if mistake:
                self._problem(("litellm_params", name), mistake)
            return base.rstrip("/"), None
        return None, reference.name if reference is not None else None

    def _base_of(self, row: Region | None) -> str | None:
        if self.provider.self_hosted and not (row is not None and row.api_base):
            would = "LiteLLM would send the prompt to api.openai.com"
            self._problem(("litellm_params",), f"{self.prefix} is self-hosted: api_base is missing ({would})")
        elif row is not None and not row.api_base and self.provider.wire != "other":
            self._problem(("litellm_params",), "api_base is missing: the host of this region is the customer's own")
        return row.api_base.rstrip("/") if row is not None and row.api_base else None

    def _region(self, base: str | None, *, elsewhere: bool) -> str | None:
        provider, named = self.provider, self.info.region
        of_host = self.hosts.get(_host(base) or "") if base else None
        regions = ", ".join(provider.regions)
        if named is not None and named not in provider.regions:
            has = f"it has {regions}" if regions else "it has none"
            hint = did_you_mean(named, provider.regions)
            self._problem(("model_info", "region"), f"{self.prefix} has no region {named}, {has}{hint}")
            return None
        if named and of_host and named != of_host:
            message = f"this host is {self.prefix}'s region {of_host}, model_info.region says {named}"
            self._problem(("litellm_params", "base_url" if self.params.base_url else "api_base"), message)
        found = named or of_host or (None if elsewhere else provider.default_region)
        if found is None and provider.regions and not elsewhere:
            self._problem(("model_info",), f"{self.prefix} serves several regions; name one: {regions}")
        return found

    def _key(self, region: str | None, row: Region | None) -> tuple[str | None, str | None, str | None]:
        """(variable, key, why it is missing)."""
        reference = self._reference("api_key")
        if reference is None and self.params.api_key is not None:
            return None, self.params.api_key, None
        if reference is not None:
            self._key_of_region(reference.name, region, row)
        wanted = (reference.name,) if reference is not None else row.keys if row is not None else ()
        found = next((name for name in wanted if self.environment.get(name)), None)
        if found is not None:
            return found, self.environment[found], None
        if not wanted or (reference is None and not self.provider.needs_key):
            return None, None, None
        return wanted[0], None, f"{' or '.join(wanted)} is not set"

    def _key_of_region(self, variable: str, region: str | None, row: Region | None) -> None:
        owner = self.provider.region_of_key(variable)
        if row is None or not self.provider.keys_bound or owner is None or owner == region:
            return
        hint = f", did you mean {row.keys[0]}?" if row.keys else ""
        message = f"{variable} is a key of region {owner}, this deployment is in {region}{hint}"
        self._problem(("litellm_params", "api_key"), message)


def check_rows(rows: Document) -> None:
    """A row under a name that nobody serves: neither LiteLLM nor an installed package has such a provider, and the row
    names no host that speaks OpenAI's format."""
    for prefix, row in rows.data.items():
        if prefix not in PROVIDERS and not _own_host(row) and prefix not in plugins.names("providers"):
            own = "; a host that speaks OpenAI's format has wire: openai and regions"
            hint = did_you_mean(prefix, PROVIDERS) or own
            rows.report((prefix,), f"LiteLLM has no provider of this name{hint}", key=True)


def _own_host(row: Any) -> bool:
    return isinstance(row, Mapping) and row.get("wire") == "openai" and bool(row.get("regions"))


def unknown_provider(document: Document, path: Path_, prefix: str, rows: Mapping[str, Provider]) -> None:
    """A prefix without a row: served by LiteLLM's lane if LiteLLM has it, else a mistake."""
    at = (*path, "litellm_params", "model")
    if prefix in PROVIDERS or prefix in plugins.names("providers"):
        message = f"no row in policies/providers.yaml for {prefix}: facts unknown, LiteLLM's lane serves it"
        document.report(at, message, severity="warning")
    else:
        hint = did_you_mean(prefix, (*rows, *PROVIDERS))
        document.report(at, f"there is no provider {prefix}{hint}")


def _bad_address(base: str) -> str | None:
    if "@" in base:  # what stands before it may be a password, so it is not shown
        return "an address with a user or a password is not used; the key goes to api_key"
    good = base.startswith(("http://", "https://")) and _host(base)
    return None if good else f"expected http://host or https://host, found {base!r}"


def _host(base: str) -> str | None:
    try:
        parts = urlsplit(base)
        _ = parts.port
    except ValueError:
        return None
    host = parts.hostname
    return None if host is None or any(each.isspace() for each in base) else host

"""What is known about providers, old names and prices: shipped files, overlaid by the user's, and LiteLLM's price map.

The map is `policies/price_map.json` where that is, else a file of the installed package; LiteLLM itself (about four
seconds) is not imported.
"""

import copy
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from scribe_router.config.documents import Document, load
from scribe_router.config.facts import check_row, exact
from scribe_router.config.schema import INFO, PriceRow, PricesKnowledge
from scribe_router.config.shapes import validate
from scribe_router.errors import ConfigError

SHIPPED = Path(str(files("scribe_router"))) / "shipped"
PRICE_MAP, OWN_PRICE_MAP = "model_prices_and_context_window_backup.json", "price_map.json"
# The map that the shipped models, vectors and documents were checked with: LiteLLM 1.106.2.
PRICE_MAP_SHA256 = "66970be01c88f94618f9f69c1a1d29e400474f2d7b89973de7e373c110f455c2"


@dataclass(frozen=True, slots=True)
class PriceMap:
    """LiteLLM's map with every number as Decimal, and the hash of the file. `own` is a map that the user put there."""

    entries: Mapping[str, Mapping[str, Any]]
    sha256: str
    own: bool = False

    @property
    def checked(self) -> bool:
        return self.sha256 == PRICE_MAP_SHA256


@dataclass(frozen=True, slots=True)
class Prices:
    """`table` is the map, and the catalogues behind it, with the rows of `prices.yaml` laid over them; `rows` are those
    rows by themselves."""

    table: Mapping[str, Mapping[str, Any]]
    rows: Mapping[str, PriceRow]
    map: PriceMap


@lru_cache(maxsize=1)
def price_map() -> PriceMap:
    """Read the map of the installed LiteLLM."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise ConfigError(("litellm is not installed; pip install scribe-router brings it",))
    return read_map(Path(spec.origin).parent / PRICE_MAP)


def read_map(path: Path) -> PriceMap:
    """A map in LiteLLM's format. Raises `OSError` and `ValueError`."""
    content = path.read_bytes()
    try:
        entries = json.loads(content, parse_float=Decimal)
    except ValueError as error:
        raise ValueError(f"not json: {error}") from None
    if not isinstance(entries, dict) or not all(isinstance(row, dict) for row in entries.values()):
        raise ValueError("expected LiteLLM's price map: an object of models, each an object")
    entries.pop("sample_spec", None)  # a comment in the form of a row
    return PriceMap(entries, hashlib.sha256(content).hexdigest(), own=path.name == OWN_PRICE_MAP)


def price_map_of(policies: Path) -> PriceMap:
    """The user's own map, else LiteLLM's. Raises `OSError` and `ValueError`."""
    own = policies / OWN_PRICE_MAP
    return _own_map(own, own.stat().st_mtime_ns) if own.exists() else price_map()


@lru_cache(maxsize=1)
def _own_map(path: Path, changed: int) -> PriceMap:
    return read_map(path)


def overlaid(name: str, policies: Path, shown: str) -> Document:
    """`name`.yaml as shipped, overlaid key by key with the user's file; problems stand in the file that they are in."""
    own = policies / f"{name}.yaml"
    if own.exists() and own.samefile(SHIPPED / "policies" / f"{name}.yaml"):
        return load(own, shown)
    once = _shipped(name)
    shipped = replace(once, data=copy.deepcopy(once.data), problems=list(once.problems), references={})
    if not own.exists():
        return shipped
    user = load(own, shown)
    if isinstance(user.data, Mapping):
        user.data, user.base = _overlay(shipped.data, user.data), shipped
    return user


@lru_cache
def _shipped(name: str) -> Document:
    return load(SHIPPED / "policies" / f"{name}.yaml", f"<shipped>/{name}.yaml")


def _overlay(base: Any, over: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: _overlay(base.get(key), value) for key, value in over.items()}}
    return over


def priced(document: Document, table: PriceMap, catalogues: Mapping[str, Mapping[str, Any]]) -> Prices:
    """A map with the rows of `prices.yaml` laid over it, key by key; mistakes of the rows are reported. What the map
    does not have is taken from `catalogues`."""
    known = {**catalogues, **table.entries}
    if not table.checked and not table.own:
        message = f"LiteLLM's price map is not the one this version was checked with (sha256 {table.sha256[:12]}…)"
        document.report((), message, severity="warning")
    rows = validate(document, PricesKnowledge)
    if rows is None:
        return Prices(known, {}, table)
    laid = dict(known)
    for name, row in document.data.items():
        check_row(document, (name,), row, INFO | PriceRow.model_fields.keys())
        if not document.wrong((name,)):
            laid[name] = _laid(document, name, known.get(name, {}), exact(row))
    return Prices(laid, rows.root, table)


def _laid(document: Document, name: str, base: Mapping[str, Any], row: Mapping[str, Any]) -> Mapping[str, Any]:
    flat = "input_cost_per_token" in row and "tiered_pricing" not in row
    laid = {**{key: value for key, value in base.items() if not (flat and key == "tiered_pricing")}, **row}
    priced_whole = "tiered_pricing" in laid or "output_cost_per_token" in laid or laid.get("mode") not in (None, "chat")
    if "input_cost_per_token" in laid and not priced_whole:
        document.report((name,), "output_cost_per_token is missing (0 if it is free)")
    return laid

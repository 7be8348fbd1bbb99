"""What a deployment's model costs and can do: LiteLLM's price map or else its provider's catalogue, our rows over them,
and its own `model_info` first."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scribe_router.config.documents import Document
from scribe_router.config.price_entries import CLASSES, compile_price
from scribe_router.config.problems import Path_
from scribe_router.config.schema import INFO, ModelEntry, fact
from scribe_router.config.shapes import found
from scribe_router.names import did_you_mean
from scribe_router.policies.prices import Price
from scribe_router.policies.providers import Region

Row = Mapping[str, Any]
Placed = tuple[str | None, Region | None]
_ABILITIES = {
    "tools": "function_calling",
    "vision": "vision",
    "json_schema": "response_schema",
    "reasoning": "reasoning",
    "audio": "audio_input",
}
# What LiteLLM's map says of every model that has it; of the others its silence means nothing.
_SAID_OF_ALL = frozenset({"vision", "audio"})

# Any threshold may be named, also one that no model of LiteLLM's map has.
TIER = re.compile(f"({'|'.join(CLASSES)})_above_[0-9]+k_tokens")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a deployment's model; sizes are tokens, None is unknown. `row` is its name in the price map."""

    price: Price | None
    mode: str
    window: int | None
    most: int | None
    supports: frozenset[str]
    lacks: frozenset[str]
    known: bool
    row: str | None = None


def check_row(document: Document, path: Path_, row: Row, known: Iterable[str] = INFO) -> None:
    """Report names that are not known, and values that their name does not fit."""
    for name, value in row.items():
        if name not in known and not TIER.fullmatch(name):
            document.report((*path, name), f"unknown key{did_you_mean(name, known)}", key=True)
        elif value is not None:
            _check_value(document, (*path, name), fact(name), value)


def _check_value(document: Document, path: Path_, kind: Row, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind.get("type") == "boolean" and not isinstance(value, bool):
        document.report(path, f"expected true or false, {found(document, path, value)}")
    elif kind.get("type") == "integer" and not (number and float(value).is_integer()):
        document.report(path, f"expected a whole number, {found(document, path, value)}")
    elif kind.get("type") == "number" and not number:
        document.report(path, f"expected a number, {found(document, path, value)}")
    elif number and "minimum" in kind and not kind["minimum"] <= value < float("inf"):
        document.report(path, f"expected {kind['minimum']} or more, {found(document, path, value)}")
    elif kind.get("type") == "array" and not isinstance(value, list):
        document.report(path, f"expected a list, {found(document, path, value)}")


def is_price(name: str) -> bool:
    """Whether LiteLLM's name is one of a price."""
    return "_cost" in name or name == "tiered_pricing"


def facts(document: Document, path: Path_, entry: ModelEntry, table: Mapping[str, Row], region: Placed) -> Facts:
    """The facts of one deployment. A price that makes no sense is reported at `model_info`."""
    row = _row(entry, table)
    listed = table[row] if row else {}
    written = {**listed, **(entry.model_info.model_extra or {}), **_set(entry.model_info)}
    mode = entry.model_info.mode or ("embedding" if listed.get("mode") == "embedding" else "chat")
    return Facts(
        price=_price(document, (*path, "model_info"), entry, listed, region, mode),
        mode=mode,
        window=_whole(written.get("max_input_tokens")),
        most=_whole(written.get("max_output_tokens")),
        supports=frozenset(ours for ours, theirs in _ABILITIES.items() if written.get(f"supports_{theirs}")),
        lacks=_lacks(written, tells=_tells(row, listed)),
        known=bool(listed) or bool(entry.model_info.model_extra),
        row=row,
    )


def _lacks(written: Row, *, tells: bool) -> frozenset[str]:
    """The abilities that a model is known not to have: that is said, or not said where the map `tells` them."""
    said = {ours: written.get(f"supports_{theirs}") for ours, theirs in _ABILITIES.items()}
    return frozenset(
        each for each, has in said.items() if has is False or (has is None and tells and each in _SAID_OF_ALL)
    )


def _tells(row: str | None, listed: Row) -> bool:
    """Whether the map tells a model's abilities. Of those that were tuned, and of some of which it has little, it does
    not; nor does a catalogue, which says no where it means no."""
    abilities = any(name.startswith("supports_") for name in listed) and "max_input_tokens" in listed
    return abilities and "catalogue" not in listed and not (row or "").startswith("ft:")


def _set(info: Any) -> dict[str, Any]:
    return {name: value for name in ("max_input_tokens", "max_output_tokens") if (value := getattr(info, name))}


def _row(entry: ModelEntry, table: Mapping[str, Row]) -> str | None:
    """Its row of the map: under the base model's name, under the deployment's, or under the provider's own name."""
    model = entry.litellm_params.model
    prefix, _, upstream = model.partition("/")
    for name in filter(None, (entry.model_info.base_model, model, upstream)):
        row = table.get(name)
        if row and (name != upstream or row.get("litellm_provider") in (prefix, None)):
            return name
    return None


def _price(document: Document, path: Path_, entry: ModelEntry, listed: Row, region: Placed, mode: str) -> Price | None:
    """The price that the entry states, else the map's with the region's uplift."""
    own = {**(entry.litellm_params.model_extra or {}), **(entry.model_info.model_extra or {})}
    stated = {name: own[name] for name in own if name.startswith(tuple(CLASSES)) or name == "tiered_pricing"}
    stated = {name: value for name, value in stated.items() if value is not None}
    name, row = region
    uplift = listed.get(f"regional_processing_uplift_multiplier_{name}", 1) if row is not None else 1
    try:
        if stated:
            return _stated(document, path, stated, entry, mode)
        source = "litellm map" if "catalogue" not in listed else f"{listed['litellm_provider']} catalogue"
        price = compile_price(listed, source, (row.price_factor if row is not None else 1) * Decimal(uplift))
        if price is not None and row is not None and row.prices == "another":
            message = f"the price map has the prices of another region than {name}; write its own here"
            document.report(path, message, severity="warning")
    except (ValueError, ArithmeticError, TypeError) as error:
        document.report(path, f"a price cannot be read: {error}")
        return None
    return None if price is not None and price.free and not listed.get("free") else price


def _stated(document: Document, path: Path_, stated: Row, entry: ModelEntry, mode: str) -> Price | None:
    if "tiered_pricing" not in stated:
        for name in ("input_cost_per_token", *(("output_cost_per_token",) if mode == "chat" else ())):
            if name not in stated:
                document.report(path, f"{name} is missing; a price that is stated is stated whole (0 if it is free)")
    provider = entry.litellm_params.model.partition("/")[0]
    return compile_price({**exact(stated), "litellm_provider": provider}, "yaml")


def exact(row: Row) -> dict[str, Any]:
    """Numbers of YAML as the decimals that were written."""
    return {name: _exact(value) for name, value in row.items()}


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, list):
        return [_exact(each) for each in value]
    return exact(value) if isinstance(value, Mapping) else value


def _whole(value: Any) -> int | None:
    return int(value) if value else None

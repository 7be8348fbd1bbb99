"""What a provider sells, as it says itself: `policies/catalogues/PROVIDER.json`, which `models sync` writes.

One model a line, sorted by name, prices in USD as the exact decimals that came. Knows OpenRouter's list of models and
LiteLLM's names of prices; opens no connection.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from scribe_router.names import MODEL

Entry = Mapping[str, Any]
Entries = Mapping[str, Entry]
FOLDER = "catalogues"
SHOWN = 100  # letters of what came that a line shows
# OpenRouter's names of prices -> those of LiteLLM's map; the last three are for a request, an image, a search.
PRICES = {
    "prompt": "input_cost_per_token",
    "completion": "output_cost_per_token",
    "input_cache_read": "cache_read_input_token_cost",
    "input_cache_write": "cache_creation_input_token_cost",
    "internal_reasoning": "output_cost_per_reasoning_token",
    "request": "fee_cost_per_request",
    "image": "fee_cost_per_image",
    "web_search": "web_search_cost_per_call",
}
EACH = ("request", "image", "web_search")
VARIABLE = "-1"  # what OpenRouter writes where the price depends on the model that it picks
_PRICE = re.compile(r"\d{1,6}(\.\d{1,24})?([eE]-\d{1,2})?", re.ASCII)


def parse(models: Iterable[Any]) -> tuple[dict[str, Entry], list[str]]:
    """The entries of a provider's list by id, and a line for each row that cannot be read: it is left out."""
    entries: dict[str, Entry] = {}
    refused = []
    for place, model in enumerate(models):
        name = model.get("id") if isinstance(model, Mapping) else None
        try:
            if not isinstance(name, str) or not MODEL.fullmatch(name):
                raise ValueError("it has no usable id")
            if name in entries:
                raise ValueError("it stands there twice; the first one counts")
            entries[name] = _entry(model)
        except ValueError as error:
            refused.append(f"{name[:SHOWN] if isinstance(name, str) else f'model {place}'}: {error}")
    return dict(sorted(entries.items())), refused


def _entry(model: Mapping[str, Any]) -> Entry:
    built, top = _part(model, "architecture"), _part(model, "top_provider")
    named = {
        "name": _plain(model, "name", str),
        "prices": _prices(_part(model, "pricing")),
        "context_length": _size(model, "context_length"),
        "max_completion_tokens": _size(top, "max_completion_tokens"),
        "parameters": _words(model, "supported_parameters"),
        "input": _words(built, "input_modalities"),
        "output": _words(built, "output_modalities"),
        "reasoning": _plain(model, "reasoning", dict),
        "expires": _plain(model, "expiration_date", str),
    }
    return {name: value for name, value in named.items() if value not in (None, [], {})}


def _prices(pricing: Mapping[str, Any]) -> dict[str, str]:
    for name in ("prompt", "completion"):
        if name not in pricing:
            raise ValueError(f"it has no price for {name}")
    named = {name: str(pricing[name]) for name in PRICES if pricing.get(name) is not None}
    for name, price in named.items():
        if price != VARIABLE and not _PRICE.fullmatch(price):
            raise ValueError(f"its price for {name} is no amount: {price[:40]!r}")
    return named


def _part(model: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = model.get(name) or {}
    if not isinstance(part, Mapping):
        raise ValueError(f"its {name} is no object")
    return part


def _plain(model: Mapping[str, Any], name: str, kind: type) -> Any:
    value = model.get(name)
    return value if isinstance(value, kind) else None


def _size(model: Mapping[str, Any], name: str) -> int | None:
    size = model.get(name)
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise ValueError(f"its {name} is no whole number")
    return size or None


def _words(model: Mapping[str, Any], name: str) -> list[str]:
    words = model.get(name) or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"its {name} is no list of names")
    return sorted(words)


def text(entries: Entries) -> str:
    """A catalogue as its file has it."""
    lines = (f"{json.dumps(name)}: {json.dumps(entry, sort_keys=True)}" for name, entry in sorted(entries.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write(path: Path, entries: Entries) -> None:
    """Put a catalogue in its place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text(entries), encoding="utf-8")
    unfinished.replace(path)


def read(path: Path) -> Entries:
    """A catalogue that `text` wrote. Raises `OSError` and `ValueError`."""
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"not json: {error}") from None
    if not isinstance(entries, dict):
        raise ValueError("expected a catalogue: an object of models")
    for name, entry in entries.items():
        try:
            row(path.stem, name, entry)
        except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation):
            raise ValueError(f"{name} cannot be read; write the catalogue anew with models sync") from None
    return entries


def row(provider: str, name: str, entry: Entry) -> dict[str, Any]:
    """An entry in the names of LiteLLM's price map, USD as Decimal. Without prices where one of them is variable.

    A further price of zero says that there is none (older rows write all of them); a model is free by its name alone.
    """
    prices = {each: Decimal(price) for each, price in entry["prices"].items()}
    words, takes = entry.get("parameters"), entry.get("input")
    facts = {
        "litellm_provider": provider,
        "mode": "embedding" if "embeddings" in entry.get("output", ()) else "chat",
        "max_input_tokens": entry.get("context_length"),
        "max_output_tokens": entry.get("max_completion_tokens"),
        "supports_function_calling": _among("tools", words),
        "supports_vision": _among("image", takes),
        "supports_audio_input": _among("audio", takes),
        "supports_response_schema": _among("structured_outputs", words),
        "supports_reasoning": _among("reasoning", words),
        "deprecation_date": entry.get("expires"),
        "catalogue": entry,
    }
    if min(prices.values()) < 0:
        return facts
    stated = {PRICES[each]: price for each, price in prices.items() if price or each in ("prompt", "completion")}
    return {**facts, **stated, "free": name.endswith(":free")}


def _among(word: str, listed: Iterable[str] | None) -> bool | None:
    """None where there is no list."""
    return None if listed is None else word in listed


def rows(provider: str, entries: Entries) -> dict[str, dict[str, Any]]:
    """A catalogue as rows of the price map, under LiteLLM's names of the models."""
    return {f"{provider}/{name}": row(provider, name, entry) for name, entry in entries.items()}


def changes(old: Entries, new: Entries) -> Iterator[str]:
    """A line for each model that is new, gone or different; prices in USD per million tokens."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            listed = [_shown(each, price) for each, price in new[name]["prices"].items() if Decimal(price)]
            yield f"new      {name}: {', '.join(listed) or 'free'}"
        elif name not in new:
            yield f"gone     {name}"
        elif different := list(_different(old[name], new[name])):
            yield f"changed  {name}: {', '.join(different)}"


def _different(old: Entry, new: Entry) -> Iterator[str]:
    for each in PRICES:
        before, after = old["prices"].get(each), new["prices"].get(each)
        if before != after:
            yield f"{_shown(each, before)} -> {_shown(each, after).removeprefix(f'{each} ')}"
    for name in sorted((old.keys() | new.keys()) - {"prices"}):
        before, after = old.get(name), new.get(name)
        if before != after:
            short = not isinstance(before, list | dict) and not isinstance(after, list | dict)
            yield f"{name} {str(before)[:SHOWN]} -> {str(after)[:SHOWN]}" if short else name


def _shown(name: str, price: str | None) -> str:
    if price is None or price == VARIABLE:
        return f"{name} {'none' if price is None else 'variable'}"
    amount = Decimal(price) * (1 if name in EACH else 1_000_000)
    return f"{name} {amount.normalize():f}{' each' if name in EACH else ''}"

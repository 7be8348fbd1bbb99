"""Parameters that make a request dearer than the listed rates, which a bound rests on. Knows names, no amounts.

Sources: OpenAI's priority tier costs twice the listed rates; Anthropic's fast mode twice, `inference_geo: us` a tenth
more; search is billed by the call (`enable_search` is Dashscope's); audio has rates of its own; rejected `prediction`
tokens are billed beyond the output cap; OpenRouter's `models` and `plugins` bring in other models and fees.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

_ORDINARY_TIERS = (None, "auto", "default", "flex", "standard", "standard_only", "batch")
_ORDINARY_TOOLS = (None, "function", "custom")
_FREE_PLUGINS = ("context-compression",)
MOST_SEARCHES = 1_000

SURCHARGES: Mapping[str, Callable[[Any], bool]] = {
    "audio": bool,
    "enable_search": bool,
    "inference_geo": lambda value: value not in (None, "global"),
    "modalities": lambda value: value not in (None, [], ["text"]),
    "models": bool,
    "plugins": lambda value: bool(value) and not _free_plugins(value),
    "prediction": bool,
    "service_tier": lambda value: value not in _ORDINARY_TIERS,
    "speed": lambda value: value not in (None, "standard"),
    "tools": lambda value: bool(_extra_tools(value)),
    "web_search_options": lambda value: value is not None,
}
# Of these the price may know by how much.
TERMS = ("inference_geo", "service_tier", "speed")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for beyond the listed rates: `terms` that the price knows, at most so many `searches`.

    `unbounded` is the first parameter that nothing bounds.
    """

    unbounded: str | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    searches: int = 0


def asked(body: Mapping[str, Any], known: Collection[str], *, searchable: bool, models: bool = False) -> Asked:
    """What a request asks for. `known` are the terms that have a price; `searchable` says that a search has one,
    `models` that each of the other models that may serve has one."""
    dearer = [name for name, costs_more in SURCHARGES.items() if name in body and costs_more(body[name])]
    terms = {name: body[name] for name in dearer if name in TERMS and _among(body[name], known)}
    searches = _searches(body["tools"]) if searchable and "tools" in dearer else None
    bounded = {*terms, *(("tools",) if searches is not None else ()), *(("models",) if models else ())}
    return Asked(next((name for name in dearer if name not in bounded), None), terms, searches or 0)


def _free_plugins(value: Any) -> bool:
    plugins = value if isinstance(value, list) else [value]
    return all(isinstance(each, Mapping) and each.get("id") in _FREE_PLUGINS for each in plugins)


def _among(value: Any, known: Collection[str]) -> bool:
    return isinstance(value, str) and value in known


def _searches(tools: Any) -> int | None:
    """How often Anthropic's own web search may run at most; None where that or another tool has no bound."""
    extra = _extra_tools(tools)
    if not all(_bounded_search(tool) for tool in extra):
        return None
    return sum(int(tool["max_uses"]) for tool in extra)


def _extra_tools(tools: Any) -> list[Any]:
    """The tools that are no functions of the client's; what is no list at all is one of them."""
    if not isinstance(tools, list):
        return [tools] if tools else []
    return [tool for tool in tools if _kind(tool) not in _ORDINARY_TOOLS]


def _bounded_search(tool: Any) -> bool:
    uses = tool.get("max_uses") if isinstance(tool, Mapping) else None
    counted = isinstance(uses, int) and not isinstance(uses, bool) and 0 < uses <= MOST_SEARCHES
    return counted and str(_kind(tool)).startswith("web_search_2")


def _kind(tool: Any) -> Any:
    return tool.get("type") if isinstance(tool, Mapping) else "unknown"

"""Parameters that make a request dearer than the listed rates, which a bound rests on. Knows names, no amounts.

Sources: OpenAI's priority tier costs twice the listed rates; Anthropic's fast mode twice, `inference_geo: us` a tenth
more; search is billed by the call; audio has rates of its own; rejected `prediction` tokens are billed beyond the
output cap; OpenRouter's `models` and `plugins` bring in other models and fees.
"""

from collections.abc import Callable, Mapping
from typing import Any

_ORDINARY_TIERS = (None, "auto", "default", "flex", "standard", "standard_only", "batch")
_ORDINARY_TOOLS = (None, "function", "custom")

SURCHARGES: Mapping[str, Callable[[Any], bool]] = {
    "audio": bool,
    "inference_geo": lambda value: value not in (None, "global"),
    "modalities": lambda value: value not in (None, [], ["text"]),
    "models": bool,
    "plugins": bool,
    "prediction": bool,
    "service_tier": lambda value: value not in _ORDINARY_TIERS,
    "speed": lambda value: value not in (None, "standard"),
    "tools": lambda value: any(_kind(tool) not in _ORDINARY_TOOLS for tool in value or ()),
    "web_search_options": lambda value: value is not None,
}


def surcharge(body: Mapping[str, Any]) -> str | None:
    """The first parameter of a request that can cost more than the listed rates, or None."""
    return next((name for name, dearer in SURCHARGES.items() if name in body and dearer(body[name])), None)


def _kind(tool: Any) -> Any:
    return tool.get("type") if isinstance(tool, Mapping) else "unknown"

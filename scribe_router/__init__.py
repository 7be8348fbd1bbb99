"""A thin, configuration-driven router over LiteLLM: exact budgets, true costs, decisions that explain themselves.

Importing this package imports nothing heavy: LiteLLM (about four seconds) is loaded when the first call needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scribe_router.errors import ConfigError, RequestError, ScribeError
from scribe_router.exchange import CallOptions

if TYPE_CHECKING:
    from scribe_router.router import Router

__version__ = "0.1.0"
__all__ = ["CallOptions", "ConfigError", "RequestError", "Router", "ScribeError", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Router":
        return import_module("scribe_router.router").Router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

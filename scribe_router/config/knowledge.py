"""What is known about providers, old names and prices: shipped files, overlaid by the user's, and LiteLLM's price map.

The map is read as a file of the installed package; LiteLLM itself (about four seconds) is not imported.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from scribe_router.config.documents import Document, load
from scribe_router.errors import ConfigError

SHIPPED = Path(str(files("scribe_router"))) / "shipped"
PRICE_MAP = "model_prices_and_context_window_backup.json"
# The map that the shipped models, vectors and documents were checked with: LiteLLM 1.106.2.
PRICE_MAP_SHA256 = "66970be01c88f94618f9f69c1a1d29e400474f2d7b89973de7e373c110f455c2"


@dataclass(frozen=True, slots=True)
class PriceMap:
    """LiteLLM's bundled map with every number as Decimal, and the hash of the file."""

    entries: Mapping[str, Mapping[str, Any]]
    sha256: str

    @property
    def checked(self) -> bool:
        return self.sha256 == PRICE_MAP_SHA256


@lru_cache(maxsize=1)
def price_map() -> PriceMap:
    """Read the map of the installed LiteLLM."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise ConfigError(("litellm is not installed; pip install scribe-router brings it",))
    content = (Path(spec.origin).parent / PRICE_MAP).read_bytes()
    return PriceMap(json.loads(content, parse_float=Decimal), hashlib.sha256(content).hexdigest())


def overlaid(name: str, policies: Path, shown: str) -> Document:
    """`name`.yaml as shipped, overlaid key by key with the user's file. Places are the user's first."""
    shipped = load(SHIPPED / "policies" / f"{name}.yaml", f"<shipped>/{name}.yaml")
    own = policies / f"{name}.yaml"
    if not own.exists() or own.samefile(SHIPPED / "policies" / f"{name}.yaml"):
        return Document(
            shown if own.exists() else shipped.name, shipped.data, shipped.problems, shipped.marks, shipped.keys
        )
    user = load(own, shown)
    if not isinstance(user.data, Mapping):
        return user
    merged = _overlay(shipped.data, user.data)
    return Document(user.name, merged, shipped.problems + user.problems, user.marks, user.keys)


def _overlay(base: Any, over: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: _overlay(base.get(key), value) for key, value in over.items()}}
    return over

"""A JSON Schema for each YAML file, for editors. Generated from the shapes that validate."""

import json
from typing import Any

from pydantic import BaseModel

from scribe_router.config.load import KNOWLEDGE, POLICIES
from scribe_router.config.schema import LiteLLMConfig

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, str]:
    """File name to schema text: `litellm_config.json`, `budgets.json`, …"""
    shapes: dict[str, type[BaseModel]] = {
        "litellm_config": LiteLLMConfig,
        **{k: v for k, v in KNOWLEDGE.items() if v is not None},
        **POLICIES,
    }
    return {f"{name}.json": _text(name, shape.model_json_schema()) for name, shape in sorted(shapes.items())}


def _text(name: str, schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DRAFT, **_lenient(schema), "title": f"{name}.yaml"}, indent=2, sort_keys=True) + "\n"


def _lenient(schema: Any) -> Any:
    """Anything may be an `os.environ/NAME` reference where a number or a flag is expected."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _lenient(each) for name, each in schema.items()}
    if inner.get("type") in ("number", "integer", "boolean"):
        kept = {name: inner.pop(name) for name in ("title", "description", "default") if name in inner}
        return {**kept, "anyOf": [inner, {"type": "string", "pattern": "^os\\.environ/"}]}
    return inner

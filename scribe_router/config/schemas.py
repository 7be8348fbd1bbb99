"""A JSON Schema for each YAML file, for editors. Generated from the shapes that validate."""

import json
from typing import Any

from scribe_router.config.files import KNOWLEDGE, POLICIES
from scribe_router.config.schema import LiteLLMConfig

DRAFT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = {"type": "string", "pattern": "^(os\\.environ|file|secret)/"}
OF_ENVIRONMENT = {"type": "string", "pattern": "^os\\.environ/"}
_ABOUT = ("title", "description", "default")


def schemas() -> dict[str, str]:
    """File name to schema text: `litellm_config.json`, `budgets.json`, …

    In `policies/` a value may be a reference whatever type it has; in `litellm_config.yaml` that holds for
    `litellm_params` alone, and for `os.environ/NAME`.
    """
    texts = {
        name: _text(name, _lenient(shape.model_json_schema())) for name, shape in {**KNOWLEDGE, **POLICIES}.items()
    }
    main = LiteLLMConfig.model_json_schema()
    main["$defs"]["LiteLLMParams"] = _lenient(main["$defs"]["LiteLLMParams"], OF_ENVIRONMENT)
    texts["litellm_config"] = _text("litellm_config", main)
    return {f"{name}.json": text for name, text in sorted(texts.items())}


def _text(name: str, schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DRAFT, **schema, "title": f"{name}.yaml"}, indent=2, sort_keys=True) + "\n"


def _lenient(schema: Any, reference: dict[str, str] = REFERENCE) -> Any:
    """The schema with a reference allowed wherever a single value stands that is more than any text."""
    if isinstance(schema, list):
        return [_lenient(each, reference) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if any(each.get("type") == "number" for each in schema.get("anyOf", ())):  # pydantic takes numbers as text too
        words = [each for each in schema["anyOf"] if each.get("type") != "string" or {"enum", "const"} & each.keys()]
        schema = {**schema, "anyOf": words}
    if _narrow(schema):
        about = {name: schema[name] for name in _ABOUT if name in schema}
        return {**about, "anyOf": [{k: v for k, v in schema.items() if k not in _ABOUT}, reference]}
    kept = ("default", "required", "enum")
    return {name: each if name in kept else _lenient(each, reference) for name, each in schema.items()}


def _narrow(schema: dict[str, Any]) -> bool:
    if schema.get("type") in ("number", "integer", "boolean"):
        return True
    return schema.get("type") == "string" and bool({"enum", "const", "pattern", "format"} & schema.keys())

"""The smallest JSON document that satisfies a JSON Schema (or Gemini's dialect of it).

Strings are the given text, numbers 0, choices the first; each bent only as far as lengths, formats and ranges ask.
Patterns are beyond it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from scribe_router.sandbox.prompt import Object

DEEP: Final = 4
DEEPEST: Final = 12
LONGEST: Final = 1000

FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
}


@dataclass(frozen=True)
class Place:
    """Where the example is. `depth` counts references; past `DEEP` only required fields are filled, so it ends."""

    root: Object
    text: str
    depth: int = 0

    @property
    def deep(self) -> bool:
        return self.depth > DEEP

    def inside(self) -> "Place":
        return replace(self, depth=self.depth + 1)


def example(schema: Object, text: str) -> Any:
    """A value that validates against the schema; a schema without a type is taken for an object."""
    found = fill(schema, Place(schema, text))
    return {"text": text} if found == text and not schema.get("type") else found


def fill(schema: Any, at: Place) -> Any:
    if not isinstance(schema, Mapping) or at.depth > DEEPEST:
        return at.text
    if "$ref" in schema:
        return fill(resolve(schema["$ref"], at.root), at.inside())
    if "allOf" in schema:
        return fill(merge(schema, at.root), at.inside())
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return fill(pick(schema[choice], at), at)
    return FILLERS.get(kind(schema), string)(schema, at)


def kind(schema: Object) -> str:
    """The type in lower case (Gemini writes capitals); of several the first that is not null."""
    named = schema.get("type")
    if isinstance(named, list):
        named = next((one for one in named if one != "null"), "null")
    if named is None:
        named = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(named).lower()


def pick(options: list[Any], at: Place) -> Any:
    if at.deep:
        return next((one for one in options if isinstance(one, Mapping) and one.get("type") == "null"), options[0])
    return options[0]


def resolve(pointer: str, root: Any) -> Any:
    """The schema at a local pointer such as `#/$defs/Item`; an empty one when it leads nowhere."""
    for step in pointer.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        root = root.get(name, {}) if isinstance(root, Mapping) else {}
    return root


def merge(schema: Object, root: Object) -> Object:
    """The schema with its `allOf` folded in: properties and required names add up, other keywords override."""
    whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        part = resolve(part["$ref"], root) if "$ref" in part else part
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole = {**whole, **part, "properties": properties, "required": required}
        if not properties:
            del whole["properties"]
    return whole


def record(schema: Object, at: Place) -> dict[str, Any]:
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    names = required if at.deep else dict.fromkeys([*properties, *required])
    return {name: fill(properties.get(name, {}), at) for name in names}


def array(schema: Object, at: Place) -> list[Any]:
    first = [fill(item, at) for item in schema.get("prefixItems", ())]
    size = max(min(int(schema.get("minItems", 0)), LONGEST), 0 if at.deep or first else 1)
    size = min(size, int(schema.get("maxItems", size)))
    return [*first, *(fill(schema.get("items", {}), at) for _ in range(size - len(first)))]


def string(schema: Object, at: Place) -> str:
    text = FORMATS.get(str(schema.get("format")), at.text)
    return text.ljust(min(int(schema.get("minLength", 0)), LONGEST), ".")[: schema.get("maxLength")]


def number(schema: Object, _: Place) -> Any:
    step = schema.get("multipleOf") or 1
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.get("exclusiveMinimum") is not None:
        low = schema["exclusiveMinimum"] + step
    if schema.get("exclusiveMaximum") is not None:
        high = schema["exclusiveMaximum"] - step
    if low is not None and low > 0:
        return math.ceil(low / step) * step
    return math.floor(high / step) * step if high is not None and high < 0 else 0


FILLERS: Final[Mapping[str, Callable[[Object, Place], Any]]] = {
    "object": record,
    "array": array,
    "string": string,
    "number": number,
    "integer": number,
    "boolean": lambda schema, at: False,
    "null": lambda schema, at: None,
}

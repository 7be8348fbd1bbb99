"""Documents from schemas: what they hold, and that they validate."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from scribe_router.sandbox.example import example

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    "required": ["name", "next"],
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
    "required": ["children"],
}


def of(kind: str, **keywords: Any) -> dict[str, Any]:
    return {"type": kind, **keywords}


EXACT: list[tuple[dict[str, Any], Any]] = [
    ({}, {"text": "hi"}),
    (of("object"), {}),
    (of("object", properties={"a": of("string"), "b": of("number")}), {"a": "hi", "b": 0}),
    (of("object", required=["c"]), {"c": "hi"}),
    ({"properties": {"a": of("boolean")}}, {"a": False}),
    (of("array", items=of("integer")), [0]),
    (of("array", items=of("null"), minItems=3), [None] * 3),
    (of("array", items=of("null"), maxItems=0), []),
    (of("array", prefixItems=[of("string"), of("integer")]), ["hi", 0]),
    ({"items": of("string")}, ["hi"]),
    (of("string", enum=["x", "y"]), "x"),
    ({"const": 7}, 7),
    (of("string", minLength=4), "hi.."),
    (of("string", maxLength=1), "h"),
    (of("string", format="date"), "2000-01-01"),
    ({"type": ["null", "integer"]}, 0),
    ({"type": ["null"]}, None),
    (of("integer", minimum=3), 3),
    (of("integer", maximum=-3), -3),
    (of("integer", minimum=3, multipleOf=5), 5),
    (of("integer", maximum=-3, multipleOf=5), -5),
    (of("integer", exclusiveMinimum=0), 1),
    (of("integer", exclusiveMaximum=0), -1),
    ({"anyOf": [of("integer"), of("string")]}, 0),
    ({"oneOf": [of("boolean"), of("string")]}, False),
    ({"$ref": "#/$defs/A", "$defs": {"A": of("integer")}}, 0),
    ({"allOf": [{"$ref": "#/$defs/A"}, of("object", properties={"b": {}})], "$defs": {"A": {"required": ["a"]}}},
     {"b": "hi", "a": "hi"}),
    ({"allOf": [of("integer", minimum=2)]}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), EXACT)
def test_example(schema: dict[str, Any], expected: Any) -> None:
    found = example(schema, "hi")
    assert found == expected
    jsonschema.validate(found, schema)


@pytest.mark.parametrize(
    "schema", [{"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, {**TREE, "$defs": {"Tree": TREE}}]
)
def test_recursive_schemas_end(schema: dict[str, Any]) -> None:
    jsonschema.validate(example(schema, "hi"), schema)


def test_a_schema_that_cannot_end_ends() -> None:
    endless = of("object", properties={"a": {"$ref": "#"}}, required=["a"])
    assert str(example(endless, "hi")).count("a") > 3


def test_gemini_writes_types_in_capitals() -> None:
    schema = of("OBJECT", properties={"a": of("STRING"), "b": of("ARRAY", items=of("INTEGER"))})
    assert example(schema, "hi") == {"a": "hi", "b": [0]}


@pytest.mark.parametrize(
    "schema", [{"$ref": "#/nowhere/at/all"}, {"anyOf": [True]}, of("object", properties={"a": True})]
)
def test_odd_schemas_do_not_fail(schema: dict[str, Any]) -> None:
    assert "hi" in str(example(schema, "hi"))

"""A document against its pydantic shape: the model, or each mistake where it stands. Knows pydantic, no meaning."""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, RootModel, SecretStr, ValidationError

from scribe_router.config.documents import Document, below, put
from scribe_router.config.problems import Path_
from scribe_router.names import did_you_mean

M = TypeVar("M", bound=BaseModel)

_BOOLS = {**dict.fromkeys(("true", "1", "yes"), True), **dict.fromkeys(("false", "0", "no"), False)}
_WORDS = {
    "string_type": "expected a name (text)",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "decimal_type": "expected a number",
    "decimal_parsing": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "missing": "is missing",
}
_BOUNDS = {
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected {le} or less",
    "too_short": "expected at least {min_length} in this list",
    "string_too_short": "expected a name, found nothing",
    "string_pattern_mismatch": "expected text that matches {pattern}",
}


def validate(document: Document, shape: type[M]) -> M | None:
    """The document's data as `shape`; None when it does not fit. Mistakes are added to the document.

    Types are strict: `"5"` is no number. Text of the environment is what the shape wants it to be, so a key made of
    digits stays a key, and `yes` is true. An unknown key is reported and left aside, so that it hides no other mistake.
    """
    if not document.readable:
        return None
    data = copy.deepcopy(document.data)
    fits = not _numbers_as_text(document, shape, data)
    while True:
        try:
            model = shape.model_validate_json(json.dumps(data), strict=True)
            return model if fits else None
        except ValidationError as error:
            mistakes = list(_distinct(error, data))
            if not _mended(document, shape, data, mistakes):
                for path, each in mistakes:
                    if not document.reported(path):
                        document.report(path, _message(document, shape, path, each))
                return None


def _numbers_as_text(document: Document, shape: type[BaseModel], data: Any) -> bool:
    """Report text where a Decimal is wanted: pydantic would take it even where it is strict."""
    places = [(path, each) for path, each in below(data) if isinstance(each, str) and _at(shape, path) is Decimal]
    for path, each in places:
        document.report(path, f"expected a number, {found(document, path, each)}")
        put(data, path, 1)
    return bool(places)


def _mended(document: Document, shape: type[BaseModel], data: Any, mistakes: list[tuple[Path_, Any]]) -> bool:
    """Whether unknown keys were taken out or text of the environment was restored, so that another look is due."""
    mended = False
    for path, each in mistakes:
        reference = document.references.get(path)
        if each["type"] == "string_type" and reference is not None and reference.text is not None:
            put(data, path, reference.text)
            mended = True
        elif each["type"] == "bool_type" and reference is not None and (word := str(reference.text).lower()) in _BOOLS:
            put(data, path, _BOOLS[word])
            mended = True
        elif each["type"] == "extra_forbidden":
            document.report(path, f"unknown key{did_you_mean(str(path[-1]), _fields(shape, path[:-1]))}", key=True)
            _take_out(data, path)
            mended = True
    return mended


def _take_out(data: Any, path: Path_) -> None:
    for step in path[:-1]:
        data = data[step]
    del data[path[-1]]


def _distinct(error: ValidationError, data: Any) -> Iterable[tuple[Path_, Any]]:
    """Each mistake with its path; one at a place is enough."""
    seen: set[Path_] = set()
    for each in error.errors(include_url=False):
        path = _path(each["loc"], data, missing=each["type"] == "missing")
        if path not in seen:
            seen.add(path)
            yield path, each


def _path(location: tuple[str | int, ...], data: Any, *, missing: bool) -> Path_:
    """The steps of a location that are in the data; pydantic adds the arms of unions and the names of functions."""
    path: Path_ = ()
    for step in location:
        inside = step in data if isinstance(data, Mapping) else isinstance(data, list) and isinstance(step, int)
        if inside:
            data, path = data[step], (*path, step)
    return (*path, location[-1]) if missing else path


def _message(document: Document, shape: type[BaseModel], path: Path_, each: Any) -> str:
    kind = each["type"]
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", each["ctx"]["expected"])
        hint = did_you_mean(str(each["input"]), options)
        return f"expected one of {', '.join(options)}{_found(document, shape, path, each)}{hint}"
    if kind in _WORDS:
        return _WORDS[kind] + ("" if kind == "missing" else _found(document, shape, path, each))
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**each["ctx"])
    message = str(each["ctx"]["error"]) if kind == "value_error" else str(each["msg"])
    return re.sub("^Input should be ", "expected ", message)


def _found(document: Document, shape: type[BaseModel], path: Path_, each: Any) -> str:
    return "" if _at(shape, path) is SecretStr else f", {found(document, path, each['input'])}"


def found(document: Document, path: Path_, value: Any) -> str:
    """What stands there; what came from the environment may be a secret, so it is named and not shown."""
    reference = document.references.get(path)
    return f"found {_show(value)}" if reference is None else f"found something else in {reference.name}"


def _show(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "nothing"}[value]
    return repr(value)


def _fields(shape: type[BaseModel], path: Path_) -> tuple[str, ...]:
    """The field names of the shape that stands at `path`."""
    at = _at(shape, path)
    inner = at if isinstance(at, type) and issubclass(at, BaseModel) else _model_in(at)
    return tuple(inner.model_fields) if inner is not None else ()


def _at(shape: Any, path: Path_) -> Any:
    """The annotation at `path`."""
    for step in path:
        if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
            shape = _model_in(shape)
        elif issubclass(shape, RootModel):
            shape = _model_in(shape.model_fields["root"].annotation)
        else:
            field = shape.model_fields.get(str(step))
            shape = field.annotation if field is not None else None
    return shape


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The shape inside `list[...]`, `dict[str, ...]` or a union."""
    for argument in reversed(getattr(annotation, "__args__", ())):
        inner = argument if isinstance(argument, type) and issubclass(argument, BaseModel) else _model_in(argument)
        if inner is not None:
            return inner
    return None

"""What every policy's shape has in common: frozen, and strict about unknown keys. Knows no policy."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class Shape(BaseModel):
    """The base of every YAML shape."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_numbers_from_booleans(cls, value: Any, info: Any) -> Any:
        annotation = str(cls.model_fields[info.field_name].annotation)
        if isinstance(value, bool) and "bool" not in annotation and "Any" not in annotation:
            raise ValueError("expected something other than true or false; quote it if it is a name")
        return value

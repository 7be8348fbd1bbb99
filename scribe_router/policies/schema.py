"""What every policy's shape has in common: frozen, and strict about unknown keys. Knows no policy."""

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """The base of every YAML shape."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

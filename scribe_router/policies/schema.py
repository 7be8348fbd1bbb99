"""What policies' shapes share: strict about unknown keys, one way to say "when", and one to say whose limit it is.
Knows no policy."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

S = TypeVar("S", bound=str)
Retention = Literal["zero"] | Annotated[int, Field(ge=0, le=36_500)]  # how long is kept what was sent; days


class Shape(BaseModel):
    """The base of every YAML shape."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Traits(Protocol):
    """What rules look at in a request. `letters` are those of its messages."""

    @property
    def tools(self) -> bool: ...
    @property
    def images(self) -> bool: ...
    @property
    def letters(self) -> int: ...
    @property
    def task(self) -> str | None: ...


class When(Shape):
    """A request that is all that the rule says: with `tools`, with `images`, with more than `longer_than` letters in
    its messages. A rule that says nothing holds for every request."""

    tools: bool | None = None
    images: bool | None = None
    longer_than: int | None = Field(default=None, ge=0)

    def holds(self, traits: Traits) -> bool:
        """Whether the rule is for a request like this."""
        return (
            self.tools in (None, traits.tools)
            and self.images in (None, traits.images)
            and (self.longer_than is None or traits.letters > self.longer_than)
        )


class OfTask(When):
    """The same, and with a task among `task`: what `metadata.task` says, or what the rules for tasks make of it."""

    task: tuple[str, ...] | None = None

    def holds(self, traits: Traits) -> bool:
        """Whether the rule is for a request like this."""
        return super().holds(traits) and (self.task is None or traits.task in self.task)


class OfModels(Shape):
    """What holds for the models whose names match one of `models`, whatever provider serves them."""

    models: tuple[str, ...] = Field(min_length=1)

    def matches(self, model: str) -> int:
        """How well it fits: the length of the longest pattern; 0 for not at all."""
        return max((len(each) for each in self.models if fnmatchcase(model, each.lower())), default=0)


M = TypeVar("M", bound=OfModels)


def fitting(rows: Iterable[M], upstream_model: str) -> M | None:
    """The row that fits a provider's name of a model best: in small letters, dots as hyphens, without its vendor."""
    name = upstream_model.rpartition("/")[2].lower().replace(".", "-")
    best = max(rows, key=lambda each: each.matches(name), default=None)
    return best if best is not None and best.matches(name) else None


def days(retention: Retention | None) -> int | None:
    """Retention as a number of days."""
    return 0 if retention == "zero" else retention


def listed(scope: S | tuple[S, ...]) -> tuple[S, ...]:
    """One scope or several as a list."""
    return (scope,) if isinstance(scope, str) else scope


def check_only(only: Collection[str], scopes: Collection[str]) -> None:
    """Raises `ValueError` where a limit is narrowed to values of what is not among its scopes."""
    for scope in only:
        if scope not in scopes:
            raise ValueError(f"only names values of {scope}, which is not among its scopes")


def check_named(scopes: Collection[str], *, named: bool) -> None:
    """Raises `ValueError` where keys could name a limit that they would share with those that do not."""
    if named and "key" not in scopes:
        raise ValueError("a limit that keys name has key among its scopes")


def check_scopes(scopes: tuple[str, ...]) -> None:
    """Raises `ValueError` where a scope is named twice, or none is."""
    if not scopes or len(set(scopes)) < len(scopes):
        raise ValueError("name at least one scope, each once")


def check_ids(ids: list[str]) -> None:
    """Raises `ValueError` where two limits have one id."""
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"two limits have the id {name}")


def holds(scopes: Iterable[S], only: Mapping[S, tuple[str, ...]], values: Mapping[S, str]) -> bool:
    """Whether a limit of these scopes, narrowed by `only`, holds where they have these values. An empty value (who has
    no team) is under no limit."""
    return all(values[scope] and values[scope] in only.get(scope, (values[scope],)) for scope in scopes)


def label(scopes: Iterable[S], values: Mapping[S, str]) -> str:
    """Whose limit it is: `user:ann,provider:openai`."""
    return ",".join(f"{scope}:{values[scope]}" for scope in scopes)

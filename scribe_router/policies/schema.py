"""What policies' shapes share: frozen, strict about unknown keys, and one way to say "when". Knows no policy."""

from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field


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

"""How many tokens a request takes at a model: `policies/tokens.yaml`, and the arithmetic. Knows counts, never a text.

Two numbers: `usual` is for people, `least` for decisions. What a text takes in a model's own tokens is known where the
vocabulary is its own; elsewhere the least that was measured of texts of its kind stands in, so that nobody is left out
who would have taken the request.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

from pydantic import Field, RootModel

from scribe_router.policies.schema import OfModels, fitting
from scribe_router.values import value

Encoding = Literal["o200k_base", "cl100k_base"]
LETTERS_OF_A_TOKEN = 4  # of English; to compare and to meter, since a limit of money rests on bytes
# Providers write the definitions of tools anew, in fewer tokens than their JSON has: of theirs, for one of the JSON.
TOOLS_LEAST, TOOLS_USUAL = 0.3, 0.7


class Tokens(OfModels):
    """How models count whose names match one of `models`; the longest wins.

    Texts are counted in tokens of `encoding`: the models' own where it is `exact`, else `ratio` times as many, and for
    each at least `least` of theirs, `least_wide` beyond ASCII. `message` are the tokens around each message, `image`
    those of a usual image and `image_least` of the smallest.
    """

    encoding: Encoding = "o200k_base"
    exact: bool = False
    ratio: float = Field(default=1.0, gt=0)
    least: float = Field(default=1.0, gt=0)
    least_wide: float = Field(default=1.0, gt=0)
    message: int = Field(default=4, ge=0)
    image: int = Field(default=1000, ge=0)
    image_least: int = Field(default=1, ge=0)


# Of models that no row is for.
OTHER = Tokens(models=("*",), ratio=1.1, least=0.6, least_wide=0.4)


class TokensKnowledge(RootModel[dict[str, Tokens]]):
    """Name of a family to how its models count."""

    def family(self, upstream_model: str) -> Tokens:
        """How a provider's model counts."""
        return fitting(self.root.values(), upstream_model) or OTHER


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of one encoding: of the texts, of the definitions of `tools`, of the `schema` of the answer.

    Among those of the text `wide` have letters beyond ASCII, `runs` go on repeating one letter (which other
    vocabularies may say in fewer). Of a text that is not counted to its `end` these are as many as were needed.
    """

    encoding: Encoding
    text: int = 0
    wide: int = 0
    runs: int = 0
    tools: int = 0
    schema: int = 0
    end: bool = True


@value
class Size:
    """What takes room in a window: bytes (UTF-8) of the texts, of the definitions of `tools`, of the `schema` of the
    answer; how many `messages`, tools and `images`; and what of it has been `counted`, in which encodings."""

    text: int = 0
    messages: int = 0
    tools: int = 0
    tool_count: int = 0
    schema: int = 0
    images: int = 0
    counted: tuple[Counted, ...] = ()

    @property
    def most(self) -> int:
        """More tokens than the texts have in any vocabulary: a token has a byte at least."""
        return self.text + self.tools + self.schema

    def of(self, encoding: Encoding) -> Counted | None:
        """What was counted in an encoding."""
        return next((each for each in self.counted if each.encoding == encoding), None)

    def with_it(self) -> str:
        """What is counted beside the texts, in words: `14 tools, 2 images`."""
        found = (("tool", self.tool_count), ("answer schema", int(self.schema > 0)), ("image", self.images))
        return ", ".join(f"{count} {what}{'s' if count > 1 else ''}" for what, count in found if count)


NO_SIZE = Size()


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens of a request: it takes `least` at least, and about `usual`; `by` says how they were counted."""

    least: int
    usual: int
    by: str

    def __str__(self) -> str:
        exact = self.least == self.usual
        return f"{self.usual:,} tokens" if exact else f"about {self.usual:,} tokens (at least {self.least:,})"


def surely_fits(size: Size, family: Tokens, room: int) -> bool:
    """Whether a request fits whatever a tokenizer would say. It costs nothing, and nearly all requests are such."""
    return size.most + _fixed_least(size, family) <= room


def estimate(size: Size, family: Tokens) -> Estimate | None:
    """The tokens of a request at a family of models; None where its text has not been counted yet."""
    found = size.of(family.encoding)
    if found is None:
        return None
    text = _text_least(found, family) + floor(found.tools * TOOLS_LEAST * min(1.0, family.least))
    usual = (found.text + found.tools * TOOLS_USUAL + found.schema) * (1.0 if family.exact else family.ratio)
    around = size.messages * family.message + size.images * family.image
    how = f"{family.encoding}, its own" if family.exact else f"{family.ratio:g} times {family.encoding}"
    least = text + _fixed_least(size, family)
    return Estimate(least, max(least, ceil(usual) + around), how if found.end else f"{how}, as far as was needed")


def _text_least(found: Counted, family: Tokens) -> int:
    if family.exact:
        return found.text
    plain = max(0, found.text - found.wide - found.runs)
    return floor(plain * family.least + found.wide * family.least_wide)


def _fixed_least(size: Size, family: Tokens) -> int:
    """What stands around the texts, at least."""
    return size.messages * (family.message if family.exact else 1) + size.images * family.image_least

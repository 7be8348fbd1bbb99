"""How tokens are estimated: for each family against its own vocabulary, over texts of every kind; the page's table."""

from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml

from scribe_router.config.documents import load
from scribe_router.config.knowledge import SHIPPED
from scribe_router.counting import counted
from scribe_router.exchange import Call
from scribe_router.policies.tokens import OTHER, Size, Tokens, TokensKnowledge, estimate, surely_fits

ROOT = Path(__file__).parent.parent.parent
KNOWN = TokensKnowledge.model_validate(load(SHIPPED / "policies" / "tokens.yaml").data)
SAMPLES = yaml.safe_load((ROOT / "tests" / "cases" / "tokens.yaml").read_text(encoding="utf-8"))["samples"]
# What a family's row is held against: the vocabularies of the samples.
MEASURED = {
    "openai": ("o200k_base",),
    "openai-older": ("cl100k_base",),
    "gemini": ("gemini",),
    "mistral": ("mistral",),
    "deepseek": ("deepseek",),
    "qwen": ("qwen3", "qwen3.6"),
    "llama": ("llama3", "llama4"),
}
PAIRS = [(family, own) for family, every in MEASURED.items() for own in every]


def call(text: str) -> Call:
    return Call("chat", {"messages": [{"role": "user", "content": text}]})


def measured(sample: dict[str, Any], family: Tokens) -> tuple[int, int]:
    """(least, usual) of a sample's text alone."""
    found = estimate(Size(counted=counted(call(sample["text"]), {family.encoding: 10**9})), family)
    assert found is not None
    return found.least, found.usual


@pytest.mark.parametrize(("family", "own"), PAIRS)
def test_nothing_takes_fewer_tokens_than_the_least(family: str, own: str) -> None:
    below = {
        sample["name"]: (least, sample["counts"][own])
        for sample in SAMPLES
        if (least := measured(sample, KNOWN.root[family])[0]) > sample["counts"][own]
    }
    assert not below


@pytest.mark.parametrize("own", ["o200k_base", "cl100k_base"])
def test_a_vocabulary_of_its_own_is_exact(own: str) -> None:
    family = next(KNOWN.root[name] for name, every in MEASURED.items() if own in every)
    assert family.exact
    assert [measured(sample, family) for sample in SAMPLES] == [(sample["counts"][own],) * 2 for sample in SAMPLES]


def test_what_was_not_measured_is_as_careful_as_what_was() -> None:
    estimated = [KNOWN.root[name] for name in MEASURED if not KNOWN.root[name].exact]
    assert KNOWN.root["other"] == OTHER
    assert min(each.least for each in estimated) >= OTHER.least
    assert min(each.least_wide for each in estimated) >= OTHER.least_wide


def row(family: str, own: str) -> str:
    tokens = KNOWN.root[family]
    found = [(measured(sample, tokens), sample["counts"][own]) for sample in SAMPLES]
    off = [usual / truth - 1 for (_, usual), truth in found]
    closest = max(least / truth for (least, _), truth in found)
    error = mean(map(abs, off))
    return f"| {family} | {own} | {error:.0%} | {min(off):+.0%} to {max(off):+.0%} | {closest:.2f} |"


def test_the_page_has_the_errors_as_they_are() -> None:
    page = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    wanted = [row(family, own) for family, own in PAIRS]
    assert [each for each in wanted if each not in page] == [], "\n".join(wanted)


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("gpt-5.6-sol", "openai"),
        ("openai/gpt-oss-120b", "openai"),
        ("gpt-oss:20b", "openai"),
        ("gpt-4", "openai-older"),
        ("gpt-4-turbo-2024-04-09", "openai-older"),
        ("gpt-4o-mini", "openai"),
        ("gpt-4.1", "openai"),
        ("gpt-6.1-sol", "gpt-6"),
        ("text-embedding-3-small", "openai-older"),
        ("anthropic/claude-sonnet-5.5", "claude"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen"),
        ("deepseek-ai/DeepSeek-V3", "deepseek"),
        ("codestral-latest", "mistral"),
        ("kimi-k3", "other"),
        ("o3-mini", "openai"),
    ],
)
def test_the_family_of_a_model(model: str, row: str) -> None:
    assert KNOWN.family(model) == KNOWN.root[row]


def test_without_rows_every_model_is_of_none() -> None:
    assert TokensKnowledge({}).family("gpt-5") == OTHER


def test_nothing_is_estimated_before_it_is_counted() -> None:
    assert estimate(Size(text=10, messages=1), OTHER) is None


def test_bytes_are_the_most_that_texts_can_take() -> None:
    exact = Tokens(models=("*",), exact=True, message=3, image=100, image_least=10)
    size = Size(text=50, messages=2, tools=20, images=1, schema=5)
    assert surely_fits(size, exact, 91)
    assert not surely_fits(size, exact, 90)

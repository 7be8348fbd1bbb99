"""Registries from YAML text, so that a test shows its whole configuration."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Protocol

from scribe_router.config.load import load_config
from scribe_router.registry import Registry
from scribe_router.router import Router


class RouterFrom(Protocol):
    """What the fixture `router` gives: a router of this configuration, closed when the test ends."""

    def __call__(
        self, text: str, policies: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Router: ...


def registry_from(
    folder: Path, text: str, policies: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> Registry:
    """The registry of a `litellm_config.yaml` with this text, and of policies by name. Raises `ConfigError`."""
    config = folder / "litellm_config.yaml"
    config.write_text(dedent(text), encoding="utf-8")
    (folder / "policies").mkdir(exist_ok=True)
    for name, policy in (policies or {}).items():
        (folder / "policies" / f"{name}.yaml").write_text(dedent(policy), encoding="utf-8")
    return load_config(config, folder / "policies", environment or {}).or_raise()

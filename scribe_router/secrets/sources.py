"""Every scheme with its resolver. Knows how they are found, not how any of them reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from scribe_router.litellm_names import PROVIDERS
from scribe_router.plugins import BrokenPlugin, loaded
from scribe_router.secrets.files import SecretFiles
from scribe_router.secrets.resolver import Missing, Resolver, Unresolved

ENVIRONMENT = "os.environ"
BUILT_IN = (ENVIRONMENT, "file", "secret")


@dataclass(frozen=True, slots=True)
class Sources:
    """`environment` is what `os.environ/` reads. `doubts` are what a person should know of secrets that were read; who
    reports one takes it out."""

    environment: Mapping[str, str] = field(repr=False)
    resolvers: Mapping[str, Resolver] = field(repr=False)
    doubts: list[str] = field(default_factory=list)

    @classmethod
    def built_in(cls, environment: Mapping[str, str], folder: Path, file: str) -> "Sources":
        """Paths start at `folder`; `file` is the encrypted one. Nothing is read yet."""
        doubts: list[str] = []
        files = SecretFiles(folder, doubts.append)
        return cls(environment, {"file": files, "secret": _encrypted(folder / file, environment)}, doubts)

    def with_packages(self) -> "Sources":
        """These, and those that installed packages bring. Raises `BrokenPlugin`."""
        brought = loaded("secrets")
        for name in brought:
            if name in BUILT_IN or name in PROVIDERS:
                raise BrokenPlugin(f"scribe_router.secrets: {name} is the name of something else already")
        return Sources(self.environment, {**self.resolvers, **brought}, self.doubts)

    def over(self, environment: Mapping[str, str]) -> "Sources":
        """These, with another environment."""
        return Sources(environment, self.resolvers, self.doubts)

    @property
    def schemes(self) -> tuple[str, ...]:
        return (ENVIRONMENT, *self.resolvers)

    def look_up(self, scheme: str, name: str) -> str:
        """The text of a reference. Raises `Missing` and `Unresolved`."""
        if scheme == ENVIRONMENT:
            return _of_environment(self.environment, name)
        try:
            text = self.resolvers[scheme](name)
        except Unresolved:
            raise
        except Exception as error:  # noqa: BLE001  (the code of others; what it says may hold a secret)
            raise Unresolved(f"{scheme}/ failed with {type(error).__name__}") from None
        if not isinstance(text, str):
            raise Unresolved(f"{scheme}/ gave {type(text).__name__}, not text")
        return text


def _of_environment(environment: Mapping[str, str], name: str) -> str:
    text = environment.get(name)
    if text is None:
        raise Missing(f"the environment variable {name} is not set")
    return text


def _encrypted(path: Path, environment: Mapping[str, str]) -> Callable[[str], str]:
    """Opened at the first use: most configurations have none, and the import takes its time."""

    @cache
    def opened() -> Resolver:
        from scribe_router.secrets.encrypted import EncryptedSecrets

        return EncryptedSecrets(path, environment)

    return lambda name: opened()(name)

"""`file/PATH`: a secret alone in a file, as Docker, Kubernetes and systemd mount them."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from scribe_router.secrets.resolver import Missing, Unresolved

LARGEST = 65536
MOUNTS = (Path("/run/secrets"), Path("/var/run/secrets"))  # their mode is the container's to choose: 0444 for Docker


class SecretFiles:
    """The file's text without the line's end. `warn` is told of a file that others can read; relative paths start at
    `folder`."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder, self._warn = folder, warn

    def __call__(self, name: str) -> str:
        path = self._folder / name
        try:
            content, mode = _read(path)
        except FileNotFoundError:
            raise Missing(f"{path} is not there") from None
        except (OSError, ValueError) as error:
            why = (getattr(error, "strerror", None) or "no path").lower()
            raise Unresolved(f"{path} cannot be read: {why}") from None
        text = _text(path, content)
        if mode & 0o077 and not any(path.is_relative_to(mount) for mount in MOUNTS):
            self._warn(f"others on this machine may read {path}, or write to it; chmod 600 it")
        return text


def _read(path: Path) -> tuple[bytes, int]:
    """(content, mode). A pipe without a writer would keep us waiting, so it is not opened for that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(0, "it is no ordinary file")
        return file.read(LARGEST + 1), stat.S_IMODE(mode)


def _text(path: Path, content: bytes) -> str:
    if len(content) > LARGEST:
        raise Unresolved(f"{path} has more than {LARGEST:,} bytes; a secret stands alone in its file")
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unresolved(f"{path} is not UTF-8 text") from None
    if not text.strip():
        raise Missing(f"{path} is empty")
    return text

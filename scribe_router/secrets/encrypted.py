"""`secret/NAME`: secrets in one encrypted file of this machine. Knows its format, its lock and its keys.

The file has two lines. The first says what it is and names the key by a short hash, so that a wrong key and a damaged
file are told apart. The second is one Fernet token around all names, values and dates: whoever lacks the key reads no
name either, and cannot give one secret the name of another. Writers wait for each other; a file is replaced whole, so
a reader sees the old one or the new one, whenever a writer is killed.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from scribe_router.names import did_you_mean
from scribe_router.secrets.resolver import Missing, Unresolved

KEY, OLDER_NAME = "SCRIBE_SECRETS_KEY", "MOBIUS_MASTER_KEY"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
HEAD = "scribe-router secrets 1"
LARGEST = 65536  # letters of one secret
PATIENCE = 10.0  # seconds for another writer to end
PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Secret:
    """One value, and when it was set."""

    value: str = field(repr=False)
    changed: datetime


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that may read; the first one writes."""

    fernet: MultiFernet = field(repr=False)
    marks: tuple[str, ...]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Keys":
        """Those of the environment, separated by commas. Raises `Missing` and `Unresolved`."""
        variable = next((name for name in (KEY, OLDER_NAME) if environment.get(name)), None)
        if variable is None:
            raise Missing(f"{KEY} is not set, so no secret/ can be read; scribe-router secrets key makes one")
        parts = [part.strip() for part in environment[variable].split(",")]
        try:
            return cls(MultiFernet([Fernet(part) for part in parts]), tuple(map(_mark, parts)))
        except ValueError:
            pass  # and its text with it: it may quote the key
        raise Unresolved(f"{variable} is no key: 32 bytes in URL-safe base64, as scribe-router secrets key makes them")


def new_key() -> str:
    """A key for the environment."""
    return Fernet.generate_key().decode()


class SecretsFile:
    """The encrypted file at `path`. Every method raises `Missing` and `Unresolved`."""

    def __init__(self, path: Path, keys: Keys) -> None:
        self._path, self._keys = path, keys

    def read(self) -> dict[str, Secret]:
        """Name to secret; none where there is no file."""
        token = self._token()
        return {} if token is None else _parsed(self._decrypted(token), self._path)

    def put(self, name: str, value: str, now: float) -> bool:
        """Keep a secret; whether there was one of this name."""
        if not NAME.fullmatch(name):
            raise Unresolved("a name is up to 128 letters, digits, _, - and .")
        if not value.strip() or len(value) > LARGEST or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Unresolved(f"a secret is UTF-8 text of at most {LARGEST:,} letters, and not empty")
        with self._writing() as secrets:
            there = name in secrets
            secrets[name] = Secret(value, datetime.fromtimestamp(int(now), UTC))
        return there

    def remove(self, name: str) -> None:
        with self._writing() as secrets:
            del secrets[_found(name, secrets, self._path)]

    def rotate(self) -> int:
        """Encrypt everything with the first key; how many secrets there are."""
        if len(self._keys.marks) == 1:
            raise Unresolved(f"put a new key before the one in use, {KEY}=NEW,OLD; scribe-router secrets key makes one")
        if self._token() is None:
            raise Missing(f"there is no {self._path}")
        with self._writing() as secrets:
            return len(secrets)

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Secret]]:
        """The secrets, which replace the file's when the block ends without an error. One writer at a time."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self._path.with_name(f"{self._path.name}.lock")):
                secrets = self.read()
                yield secrets
                text = json.dumps({name: [each.value, each.changed.isoformat()] for name, each in secrets.items()})
                token = self._keys.fernet.encrypt(text.encode())
                _replace(self._path.resolve(), f"{HEAD} {self._keys.marks[0]}\n{token.decode()}\n".encode())
        except OSError as error:
            raise Unresolved(f"{self._path} cannot be written: {(error.strerror or str(error)).lower()}") from None

    def _token(self) -> str | None:
        try:
            head, _, token = self._path.read_text("ascii").partition("\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unresolved(f"{self._path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError:
            head = token = ""
        start, _, mark = head.rpartition(" ")
        if start != HEAD:
            raise Unresolved(f"{self._path} is no file of secrets, or it is damaged; restore it from a copy")
        if mark not in self._keys.marks:
            ours = ", ".join(self._keys.marks)
            raise Unresolved(f"{self._path} was written with the key {mark}, and {KEY} has {ours}; give it that key")
        return token.strip()

    def _decrypted(self, token: str) -> bytes:
        try:
            return self._keys.fernet.decrypt(token)
        except InvalidToken:
            raise Unresolved(f"{self._path} is damaged: its key fits and its text does not; restore a copy") from None


class EncryptedSecrets:
    """The resolver of `secret/NAME`; the file is read once."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path, self._environment = path, environment
        self._secrets: dict[str, Secret] | None = None

    def __call__(self, name: str) -> str:
        if self._secrets is None:
            self._secrets = SecretsFile(self._path, Keys.of(self._environment)).read()
        return self._secrets[_found(name, self._secrets, self._path)].value


def _found(name: str, secrets: Mapping[str, Secret], path: Path) -> str:
    if name not in secrets:
        hint = did_you_mean(name, secrets) or f"; scribe-router secrets set {name} writes it"
        raise Missing(f"there is no secret {name} in {path}{hint}")
    return name


def _mark(key: str) -> str:
    """What a key is called where others can see it. 256 random bits stand behind these 48, so they tell nothing."""
    return hashlib.sha256(b"scribe-router secrets key\0" + key.encode()).hexdigest()[:12]


def _parsed(text: bytes, path: Path) -> dict[str, Secret]:
    try:
        rows = json.loads(text)
        return {name: Secret(value, datetime.fromisoformat(changed)) for name, (value, changed) in rows.items()}
    except (ValueError, TypeError, AttributeError):
        raise Unresolved(f"{path} holds something else than secrets, written with this key") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The kernel lets go of it when its holder ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until = time.monotonic() + PATIENCE
        while not _taken(descriptor):
            if time.monotonic() > until:
                raise Unresolved(f"another process has been writing for {PATIENCE:.0f} s; {path} is its lock")
            time.sleep(PAUSE)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    """Put a whole file in place of another, on the disk too. Below the lock, so what a killed writer left is ours."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

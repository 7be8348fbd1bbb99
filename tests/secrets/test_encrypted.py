"""The encrypted file: what is kept, what each kind of damage is told as, and that no value is ever shown."""

import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scribe_router.secrets import Missing, Unresolved
from scribe_router.secrets.encrypted import EncryptedSecrets, Keys, Secret, SecretsFile, new_key
from tests.support.examples import examples

NOW = 1_795_170_000.5  # 2026-11-20T10:20:00Z
CANARY = "sk-canary-0123456789"
FIRST, SECOND = new_key(), new_key()


def keys(*each: str) -> Keys:
    return Keys.of({"SCRIBE_SECRETS_KEY": ",".join(each)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "secrets"


@pytest.fixture
def file(path: Path) -> SecretsFile:
    found = SecretsFile(path, keys(FIRST))
    assert not found.put("openai", CANARY, NOW)
    return found


def test_what_is_set_is_read(file: SecretsFile, path: Path) -> None:
    assert file.put("openai", "sk-newer", NOW + 1)
    assert not file.put("key.of-Ann_2", "-----BEGIN\nx\n-----END", NOW)
    at = datetime(2026, 11, 20, 10, 20, 0, tzinfo=UTC)
    assert file.read() == {
        "openai": Secret("sk-newer", at.replace(second=1)),
        "key.of-Ann_2": Secret("-----BEGIN\nx\n-----END", at),
    }
    assert EncryptedSecrets(path, {"MOBIUS_MASTER_KEY": FIRST})("openai") == "sk-newer"
    file.remove("openai")
    assert list(file.read()) == ["key.of-Ann_2"]


def test_nobody_else_reads_it(file: SecretsFile, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    everything = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"openai" not in everything
    assert CANARY.encode() not in everything
    assert CANARY not in repr(file.read())
    assert FIRST not in repr(keys(FIRST))


def test_where_there_is_no_file_there_is_no_secret(path: Path) -> None:
    empty = SecretsFile(path, keys(FIRST))
    assert empty.read() == {}
    assert not path.parent.exists(), "reading makes no file"
    with pytest.raises(Missing, match=r"there is no secret openai in .*; scribe-router secrets set openai writes it"):
        EncryptedSecrets(path, {"SCRIBE_SECRETS_KEY": FIRST})("openai")


@pytest.mark.parametrize(
    ("environment", "kind", "said"),
    [
        ({}, Missing, "SCRIBE_SECRETS_KEY is not set, so no secret/ can be read; scribe-router secrets key makes one"),
        ({"SCRIBE_SECRETS_KEY": CANARY}, Unresolved, "SCRIBE_SECRETS_KEY is no key: 32 bytes in URL-safe base64"),
        ({"SCRIBE_SECRETS_KEY": f"{FIRST},"}, Unresolved, "SCRIBE_SECRETS_KEY is no key"),
        ({"MOBIUS_MASTER_KEY": "ü" * 44}, Unresolved, "MOBIUS_MASTER_KEY is no key"),
    ],
)
def test_keys_that_are_none(environment: dict[str, str], kind: type[Unresolved], said: str) -> None:
    with pytest.raises(kind, match=re.escape(said)) as raised:
        Keys.of(environment)
    assert not any(value in str(raised.value) for value in environment.values())
    assert raised.value.__context__ is None, "what it came from may quote the key"


def test_a_wrong_key_is_named_and_not_shown(file: SecretsFile, path: Path) -> None:
    theirs, ours = keys(FIRST).marks[0], keys(SECOND).marks[0]
    other = SecretsFile(path, keys(SECOND))
    for attempt in (other.read, lambda: other.remove("a")):
        with pytest.raises(Unresolved, match=f"written with the key {theirs}, and SCRIBE_SECRETS_KEY has {ours}") as no:
            attempt()
        assert not {FIRST, SECOND, CANARY} & set(re.split(r"[ ,]", str(no.value)))
    assert file.read()["openai"].value == CANARY


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-9], "is damaged: its key fits"),
        (lambda text: text[:50] + ("A" if text[50:51] != b"A" else "B").encode() + text[51:], "is damaged"),
        (lambda text: text.split(b"\n")[0] + b"\n", "is damaged"),
        (lambda text: b"", "is no file of secrets"),
        (lambda text: b"OPENAI_API_KEY=" + CANARY.encode(), "is no file of secrets"),
        (lambda text: b"\xff\x00", "is no file of secrets"),
        (lambda text: text.replace(b"secrets 1", b"secrets 2"), "is no file of secrets"),
    ],
)
def test_damage_is_told_and_nothing_is_overwritten(file: SecretsFile, path: Path, damage: object, said: str) -> None:
    assert callable(damage)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    for attempt in (file.read, lambda: file.put("a", "b", NOW), lambda: file.remove("openai")):
        with pytest.raises(Unresolved, match=said) as raised:
            attempt()
        assert CANARY not in str(raised.value)
    assert path.read_bytes() == broken


def test_a_secret_cannot_take_the_place_of_another(file: SecretsFile, path: Path) -> None:
    """Names are inside what is encrypted, so whoever writes to the file can only bring an older one back."""
    file.put("other", "low", NOW)
    assert [line.count(b"secret") for line in path.read_bytes().splitlines()] == [1, 0]


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "a\n", "ü", "x" * 129])
def test_names_that_no_reference_can_hold(file: SecretsFile, name: str) -> None:
    with pytest.raises(Unresolved, match="a name is up to 128 letters"):
        file.put(name, "x", NOW)


@pytest.mark.parametrize("value", ["", " \n", "x" * 65537, "a\udc80"])
def test_values_that_are_none(file: SecretsFile, value: str) -> None:
    with pytest.raises(Unresolved, match="a secret is UTF-8 text of at most 65,536 letters, and not empty"):
        file.put("a", value, NOW)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(str.strip))
def test_any_text_comes_back(file: SecretsFile, value: str) -> None:
    file.put("any", value, NOW)
    assert file.read()["any"].value == value


class TestRotation:
    def test_the_first_key_takes_over(self, file: SecretsFile, path: Path) -> None:
        before = file.read()
        assert SecretsFile(path, keys(SECOND, FIRST)).rotate() == 1
        assert SecretsFile(path, keys(SECOND)).read() == before
        with pytest.raises(Unresolved, match="was written with the key"):
            file.read()

    def test_one_key_is_not_enough(self, file: SecretsFile) -> None:
        with pytest.raises(Unresolved, match="put a new key before the one in use, SCRIBE_SECRETS_KEY=NEW,OLD"):
            file.rotate()

    def test_nothing_to_rotate(self, path: Path) -> None:
        with pytest.raises(Missing, match="there is no "):
            SecretsFile(path, keys(SECOND, FIRST)).rotate()
        assert not path.exists()


WRITER = """
import sys, time
from pathlib import Path
from scribe_router.secrets.encrypted import Keys, SecretsFile
path, keys, names, value = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
file = SecretsFile(path, Keys.of({"SCRIBE_SECRETS_KEY": keys}))
print("ready", flush=True)
for name in names.split(","):
    file.put(name, value, time.time())
while names == "forever":
    file.rotate()
"""


def writer(path: Path, key: str, names: str, value: str = "x") -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), key, names, value], env=environment, stdout=subprocess.PIPE
    )


def test_two_writers_at_once_lose_nothing(path: Path) -> None:
    wanted = [",".join(f"{who}{number}" for number in range(30)) for who in "ab"]
    writers = [writer(path, FIRST, names) for names in wanted]
    for each in writers:
        each.communicate(timeout=50)
        assert each.returncode == 0
    assert sorted(SecretsFile(path, keys(FIRST)).read()) == sorted(",".join(wanted).split(","))


def test_who_waits_too_long_is_told(file: SecretsFile, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scribe_router.secrets.encrypted.PATIENCE", 0.1)
    with file._writing(), pytest.raises(Unresolved, match=r"another process has been writing .* is its lock"):
        SecretsFile(path, keys(FIRST)).put("a", "b", NOW)


def test_kill_in_the_middle_leaves_the_old_file_or_the_new(path: Path) -> None:
    """A large value makes the time of writing long; the moments of the kills are seeded."""
    randomness = random.Random(6)
    large, both = "v" * 60000, f"{SECOND},{FIRST}"
    SecretsFile(path, keys(FIRST)).put("kept", CANARY, NOW)
    for number in range(12):
        running = writer(path, both if number % 2 else f"{FIRST},{SECOND}", "forever", large)
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(randomness.uniform(0.0, 0.05))
        running.send_signal(signal.SIGKILL)
        running.wait(10)
        running.stdout.close()
        found = SecretsFile(path, keys(*both.split(","))).read()
        assert found["kept"].value == CANARY
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    SecretsFile(path, keys(*both.split(","))).put("after", "b", NOW)
    assert not path.with_name("secrets.new").exists()


def test_a_link_stays_a_link(file: SecretsFile, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    SecretsFile(link, keys(FIRST)).put("a", "b", NOW)
    assert link.is_symlink()
    assert set(file.read()) == {"openai", "a"}


def test_a_folder_in_which_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unresolved, match="cannot be written: "):
        SecretsFile(tmp_path / "file" / "secrets", keys(FIRST)).put("a", "b", NOW)

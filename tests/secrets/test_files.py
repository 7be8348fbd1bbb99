"""`file/PATH`: what is read, what is refused, and when somebody is warned."""

import os
from pathlib import Path

import pytest

from scribe_router.secrets import Missing, Unresolved
from scribe_router.secrets.files import SecretFiles


def read(folder: Path, content: bytes, mode: int = 0o600) -> tuple[str, list[str]]:
    """(the secret, what was warned of)."""
    warned: list[str] = []
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return SecretFiles(folder, warned.append)("secret"), warned


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n\n", "hunter2"),
        (b"-----BEGIN\nx\n-----END\n", "-----BEGIN\nx\n-----END"),
        (b" \xc3\xa4 ", " ä "),
        (b"\xef\xbb\xbfhunter2", "hunter2"),
    ],
)
def test_the_text_without_the_lines_end(tmp_path: Path, content: bytes, secret: str) -> None:
    assert read(tmp_path, content) == (secret, [])


def test_a_path_may_be_absolute(tmp_path: Path) -> None:
    read(tmp_path, b"hunter2")
    assert SecretFiles(Path("/nowhere"), print)(str(tmp_path / "secret")) == "hunter2"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
def test_others_can_read_it(tmp_path: Path, mode: int) -> None:
    secret, warned = read(tmp_path, b"hunter2", mode)
    path = tmp_path / "secret"
    assert (secret, warned) == ("hunter2", [f"others on this machine may read {path}, or write to it; chmod 600 it"])


def test_what_a_container_mounts_has_the_containers_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scribe_router.secrets.files.MOUNTS", (tmp_path,))
    assert read(tmp_path, b"hunter2", 0o444) == ("hunter2", [])


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", Missing, "secret is empty"),
        (b"\n", Missing, "secret is empty"),
        (b"x" * 65537, Unresolved, "secret has more than 65,536 bytes; a secret stands alone in its file"),
        (b"hunter2\xff", Unresolved, "secret is not UTF-8 text"),
    ],
)
def test_what_is_no_secret(tmp_path: Path, content: bytes, kind: type[Unresolved], said: str) -> None:
    with pytest.raises(kind, match=said) as raised:
        read(tmp_path, content)
    assert "hunter2" not in str(raised.value).replace(str(tmp_path), "")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path, print)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Missing, match="nothing is not there"):
        files("nothing")
    for name, said in (("pipe", "it is no ordinary file"), ("folder", "is a directory"), ("a\0b", "no path")):
        with pytest.raises(Unresolved, match=f"cannot be read: {said}"):
            files(name)

"""What the Compose files and the systemd unit promise, beyond the shape that deploy/lint checks."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.plain_image import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
FILES = sorted(DEPLOY.glob("compose*.yaml"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
UNIT = (DEPLOY / "scribe-router.service").read_text(encoding="utf-8")


def services(name: str) -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))["services"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_only_this_machine_reaches_the_ports(file: Any) -> None:
    ports = [port for service in services(file.name).values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:4000:4000"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_the_router_is_built_from_here_and_can_write_only_its_state(file: Any) -> None:
    router = services(file.name)["router"]
    build = router["build"]
    assert (DEPLOY / build["context"]).resolve() == REPOSITORY
    assert (REPOSITORY / build["dockerfile"]).is_file()
    assert router["read_only"] is True
    assert router["cap_drop"] == ["ALL"]
    assert any(mount.startswith("/var/lib/scribe") for mount in router["tmpfs"]) or router["volumes"] == [
        "state:/var/lib/scribe"
    ]


def test_the_sandbox_needs_nothing_from_whoever_starts_it() -> None:
    text = (DEPLOY / "compose.sandbox.yaml").read_text(encoding="utf-8")
    assert "${" not in text
    assert list(services("compose.sandbox.yaml")) == ["router"]


def test_the_router_gets_no_key_by_default() -> None:
    router = services("compose.yaml")["router"]
    assert router["environment"] == {
        "SCRIBE_MASTER_KEY": "${SCRIBE_MASTER_KEY:?set it first, openssl rand -hex 32 makes one}",
        "SCRIBE_STORE": "redis://redis:6379",
    }
    assert router["env_file"] == [{"path": ".env", "required": False}]


def test_redis_neither_evicts_nor_forgets() -> None:
    command = services("compose.yaml")["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}
    assert services("compose.yaml")["redis"]["volumes"] == ["redis:/data"]


def written() -> list[str]:
    """The settings of shipped policies that say where something is written, below the folder that cannot be written."""
    policies = (path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "policies").glob("*.yaml")))
    return re.findall(r"^\w+: (.*\.scribe/.*)$", "\n".join(policies), re.MULTILINE)


def test_image_and_unit_write_only_below_the_state_and_agree_on_where() -> None:
    assert len(written()) == 4
    for setting in written():
        variable = re.fullmatch(r"os\.environ/(\w+):(sqlite:)?\.scribe/([\w.]+)", setting)
        assert variable is not None, f"{setting} cannot be moved by the environment"
        name, scheme, file = variable.groups(default="")
        assert f"{name}={scheme}/var/lib/scribe/{file}" in UNIT
        assert f"{name}={scheme}/var/lib/scribe/{file}" in DOCKERFILE


def test_image_and_unit_agree_on_the_configuration() -> None:
    for text in (DOCKERFILE, UNIT):
        assert "SCRIBE_CONFIG=/etc/scribe/litellm_config.yaml" in text


def test_the_unit_waits_longer_than_the_proxy_does() -> None:
    from scribe_router.server.boot import GRACE_SECONDS

    wait = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert wait is not None
    assert int(wait[1]) > GRACE_SECONDS
    for file in FILES:
        assert int(services(file.name)["router"]["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS

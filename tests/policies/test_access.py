"""Who is let in."""

import pytest
from pydantic import ValidationError

from scribe_router.exchange import Principal
from scribe_router.policies.access import AccessPolicy, authenticate

KEY = "k" * 10 + "0123456789"
POLICY = AccessPolicy.model_validate({"master_key": KEY})
LOCAL, MASTER = Principal("local", "local"), Principal("master", "master")


@pytest.mark.parametrize(
    ("policy", "bearer", "loopback", "expected"),
    [
        (None, None, True, LOCAL),
        (None, "anything", True, LOCAL),
        (None, None, False, None),
        (None, KEY, False, None),
        (POLICY, KEY, False, MASTER),
        (POLICY, KEY, True, MASTER),
        (POLICY, None, True, None),
        (POLICY, "", True, None),
        (POLICY, KEY[:-1], False, None),
        (POLICY, KEY + "0", False, None),
        (POLICY, "ключ", False, None),
    ],
)
def test_principal(policy: AccessPolicy | None, bearer: str | None, loopback: bool, expected: Principal | None) -> None:
    assert authenticate(policy, bearer, loopback=loopback) == expected


@pytest.mark.parametrize("key", ["", "short", "sk-1234", "changeme", "k" * 19])
def test_a_weak_key_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="too weak"):
        AccessPolicy.model_validate({"master_key": key})


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(POLICY)

"""Where a request comes from, as a table, and that nobody can say so himself."""

import random
import re
from ipaddress import ip_address

import pytest

from scribe_router.policies.addresses import Forwarding, NoAddress, client, networks, within

TRUSTED = networks(["10.0.0.0/8", "fd00::/8", "192.168.1.1"])

FOUND = [
    # peer, header's values, address
    ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),  # not a proxy of ours, whatever it says
    ("203.0.113.9", ["nonsense"], "203.0.113.9"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
    ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # what stands left the client wrote
    ("10.0.0.1", ["nonsense, , 1.2.3.4"], "1.2.3.4"),
    ("10.0.0.1", ["6.6.6.6, 1.2.3.4 , 10.9.9.9", "192.168.1.1"], "1.2.3.4"),
    ("10.0.0.1", ["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
    ("::ffff:10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
    ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
    ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
    ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
]
REFUSED = [
    *(None, "", "unix:", "10.0.0.1:80", "localhost", "fe80::1%eth0", "010.0.0.1", "10.1"),
]
BAD = [
    "unknown",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.4:",
    "1.2.3.4:x",
    "[::1",
    "::1]",
    "[::1]x",
    "1.2.3.4,",
    "_secret",
    "0x7f.1",
    "1.2.3.4 5",
]


@pytest.mark.parametrize(("peer", "values", "address"), FOUND)
def test_found(peer: str, values: list[str], address: str) -> None:
    assert client(peer, values, TRUSTED) == ip_address(address)


@pytest.mark.parametrize("peer", REFUSED)
def test_a_peer_that_is_no_address(peer: str | None) -> None:
    with pytest.raises(NoAddress):
        client(peer, [], TRUSTED)


@pytest.mark.parametrize("value", BAD)
def test_what_a_trusted_proxy_cannot_have_meant(value: str) -> None:
    with pytest.raises(NoAddress):
        client("10.0.0.1", [f"6.6.6.6, {value}"], TRUSTED)


FORWARDED = [
    ("for=1.2.3.4", "1.2.3.4"),
    ('proto=https;For="1.2.3.4:80";by=10.0.0.1', "1.2.3.4"),
    ('for=6.6.6.6, for="[2001:db8::1]:4711"', "2001:db8::1"),
    ('for="a,b;for=6.6.6.6", for=1.2.3.4, for=10.0.0.2', "1.2.3.4"),
    ('for="[2001:\\db8::1]"', "2001:db8::1"),
    ("", "10.0.0.1"),
    ("for=unknown", None),
    ("for=_gazonk", None),
    ("proto=https", None),
    ("for=1.2.3.4;for=5.6.7.8", None),
    ('for="1.2.3.4', None),
    ('for=1.2.3.4, for="', None),
    ('for="1.2.3.4, for=5.6.7.8', None),
    ("for=2001:db8::1", "2001:db8::1"),
]


@pytest.mark.parametrize(("value", "address"), FORWARDED)
def test_the_header_of_the_standard(value: str, address: str | None) -> None:
    if address is None:
        with pytest.raises(NoAddress):
            client("10.0.0.1", [value], TRUSTED, "forwarded")
    else:
        assert client("10.0.0.1", [value], TRUSTED, "forwarded") == ip_address(address)


def test_nobody_can_choose_his_address() -> None:
    """Whatever a client sends, what its own proxy adds on the right is what counts."""
    chance = random.Random(6)
    pieces = [
        "10.0.0.1",
        "192.168.1.1",
        "6.6.6.6",
        "x",
        "",
        '"',
        "\\",
        ";",
        "for=10.0.0.1",
        "for=",
        ",",
        " ",
        "[::1]:1",
    ]
    for _ in range(5000):
        said = ["".join(chance.choices(pieces, k=chance.randrange(6))) for _ in range(chance.randrange(3))]
        way: Forwarding = chance.choice(["x-forwarded-for", "forwarded"])
        added = "203.0.113.9" if way == "x-forwarded-for" else "for=203.0.113.9"
        try:
            found = client("10.0.0.1", [*said, added], TRUSTED, way)
        except NoAddress:
            continue
        assert found == ip_address("203.0.113.9"), said


def test_too_many_proxies() -> None:
    with pytest.raises(NoAddress, match="more than 32 proxies in x-forwarded-for"):
        client("10.0.0.1", ["10.0.0.2," * 40 + "10.0.0.3"], TRUSTED)


def test_lists_of_networks() -> None:
    assert within(ip_address("192.168.1.1"), TRUSTED)
    assert not within(ip_address("192.168.1.2"), TRUSTED)
    assert not within(ip_address("::1"), networks(["0.0.0.0/0"]))
    assert within(ip_address("1.2.3.4"), networks(["::ffff:1.2.0.0/112"]))
    for text in ("10.0.0.1/8", "10.0.0/8", "host", ""):
        with pytest.raises(ValueError, match=re.escape(f"such as 10.0.0.0/8, found {text!r}")):
            networks([text])

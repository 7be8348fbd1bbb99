"""From which address a request comes, and whether that one may call. Pure.

What a proxy says counts only where the proxy is trusted: the list is read from the right, and whoever stands left of
the first address that nobody vouches for wrote that part himself.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Forwarding = Literal["x-forwarded-for", "forwarded"]
MOST_PROXIES = 32
_PORT = re.compile(r":[0-9]{1,5}", re.ASCII)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ELEMENTS = re.compile(rf'(?:{_QUOTED}|[^",])*')
_PAIRS = re.compile(rf'(?:{_QUOTED}|[^";])*')


class NoAddress(ValueError):
    """Where a request comes from cannot be told; it is refused. The text is safe to show."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks and single addresses, as `10.0.0.0/8` or `2001:db8::1`. Raises `ValueError` that says which is none."""
    return tuple(map(_network, texts))


def within(address: Address, among: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks."""
    return any(address.version == each.version and address in each for each in among)


def client(
    peer: str | None,
    values: Sequence[str],
    trusted: Sequence[Network],
    forwarding: Forwarding = "x-forwarded-for",
) -> Address:
    """Who a request comes from: `peer` is the other end of the connection, `values` are those of the one header that
    trusted proxies write, in their order. Raises `NoAddress`.

    One header, since a proxy that writes the one lets a client's other one through.
    """
    found = _address(peer or "")
    if not within(found, trusted):
        return found
    read = _forwarded if forwarding == "forwarded" else _listed
    for count, text in enumerate(reversed(list(read(",".join(values))))):
        if count >= MOST_PROXIES:
            raise NoAddress(f"more than {MOST_PROXIES} proxies in {forwarding}")
        found = _address(_without_port(text))
        if not within(found, trusted):
            return found
    return found


def _network(text: str) -> Network:
    try:
        found = ip_network(text)
    except ValueError:
        raise ValueError(f"expected an address or a network such as 10.0.0.0/8, found {text!r}") from None
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    return found if mapped is None or found.prefixlen < 96 else IPv4Network((mapped, found.prefixlen - 96))


def _address(text: str) -> Address:
    """One address; one of IPv4 in the form of IPv6 is that of IPv4."""
    try:
        found = ip_address(text)
    except ValueError:
        raise NoAddress("the address that a request comes from cannot be read") from None
    if isinstance(found, IPv4Address):
        return found
    if found.scope_id is not None:
        raise NoAddress("an address with a zone is one of this machine's alone")
    return found.ipv4_mapped or found


def _without_port(text: str) -> str:
    """`1.2.3.4:80`, `[::1]:80` and `[::1]` without what is not the address."""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return address if bracket and (not port or _PORT.fullmatch(port)) else ""
    address, colon, port = text.partition(":")
    return address if _PORT.fullmatch(colon + port) else text


def _listed(text: str) -> Iterator[str]:
    return (each.strip(" \t") for each in (text.split(",") if text.strip() else ()))


def _forwarded(text: str) -> Iterator[str]:
    """The `for` of each element of RFC 7239; empty, which is no address, where one has none or several."""
    for element in _parts(_ELEMENTS, text, ",") if text.strip() else ():
        pairs = (pair.partition("=") for pair in _parts(_PAIRS, element, ";"))
        found = [value.strip(" \t") for name, _, value in pairs if name.strip(" \t").lower() == "for"]
        yield _unquoted(found[0]) if len(found) == 1 else ""


def _parts(pattern: re.Pattern[str], text: str, mark: str) -> Iterator[str]:
    """Text between marks that do not stand within quotes; a quote that never ends makes the rest one bad part."""
    at = 0
    while True:
        match = pattern.match(text, at)
        end = match.end() if match else at
        if end < len(text) and text[end] != mark:
            yield ""
            return
        yield text[at:end]
        if end >= len(text):
            return
        at = end + 1


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] == text[-1:] == '"' and len(text) > 1 else text

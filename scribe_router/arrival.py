"""What a request is before anything is planned: whose it is, what it may set, and what is demanded of what serves it.

It knows the registry and the moment, no other request and no running state; it sends nothing.
"""

import secrets
from dataclasses import replace
from unicodedata import category

from scribe_router.errors import InvalidRequest, PermissionDenied
from scribe_router.exchange import Call, Exchange
from scribe_router.plan import day, facts_of
from scribe_router.policies import residency
from scribe_router.policies.access import not_allowed
from scribe_router.principals import Principal
from scribe_router.registry import Registry
from scribe_router.requested import demand_of, planned_name


def arrived(call: Call, principal: Principal, registry: Registry, now: float) -> Exchange:
    """The exchange of a request that came `now`. Raises `InvalidRequest` for who cannot be named in a ledger."""
    options = call.options
    for name, value in (("user", options.user), ("team", options.team)):
        # SQLite reads a name within JSON up to its NUL, and no store keeps half of a surrogate pair.
        if any(category(letter) in ("Cc", "Cs") for letter in value or ""):
            text = f"{name} holds a control character, or half of one letter"
            raise InvalidRequest(text, code="invalid_value", param=name)
    who = replace(principal, user=options.user or principal.user, team=options.team or principal.team)
    named = call.model or registry.routing.default(call.api)
    demand = who.grant.demand & registry.residency.demand(named, registry.resolve(named))
    return Exchange(f"ex-{secrets.token_hex(12)}", call, who, registry.version, now, named, demand=demand)


def permit(exchange: Exchange, registry: Registry) -> None:
    """Raises `PermissionDenied` for a field that its principal may not set, and for who names a limit that is gone."""
    who = exchange.principal
    for name in who.grant.limits:
        if name not in registry.named_limits:
            text = f"the limit {name}, which {who.name} names, is not there any more; make another key, or the limit"
            raise PermissionDenied(text, code="limit_missing")
    field = not_allowed(who.grant, exchange.call.body)
    if field is not None:
        text = f"{who.name} may not set {field}; whoever made the key can allow it"
        raise PermissionDenied(text, code="field_not_allowed", param=field)


def place(exchange: Exchange, registry: Registry) -> None:
    """Note what is demanded of whatever serves it, and the arm of an experiment: also of an answer from the cache, and
    of tools, which have no plan. Raises `PermissionDenied` for a request that leads elsewhere."""
    body = exchange.call.body
    exchange.demand = residency.asked(body, exchange.demand)
    if registry.experiments.experiments or registry.residency.on:
        known = facts_of(exchange.call, registry, exchange.principal)
        name = planned_name(known, registry, day(exchange.opened))
        exchange.exposure = registry.exposure(name, known.unit)
        exchange.demand &= demand_of(name, known, registry)
    if exchange.demand.hipaa:
        exchange.call = replace(exchange.call, body=residency.unlabelled(body, registry.labels))
    if (where := residency.led_away(body, exchange.demand)) is not None:
        text = f"{where} leads to a server that is not known here, which this request is not to be shown to"
        raise PermissionDenied(text, code="region_not_allowed", param=where)

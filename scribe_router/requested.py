"""What the name in a request stands for here: a default, a routing mode, `auto`, the successor of an old name. Pure."""

from collections.abc import Collection
from datetime import date

from scribe_router.errors import InvalidRequest, ModelNotFound, PermissionDenied
from scribe_router.facts import Facts
from scribe_router.names import did_you_mean
from scribe_router.policies.access import may_use
from scribe_router.policies.migrations import migrate, retired
from scribe_router.policies.routing import AUTO
from scribe_router.principals import Demand
from scribe_router.registry import Registry

SHOWN = 100  # letters of a client's own text in a message


def asked_name(request: Facts, registry: Registry) -> str:
    """The name that a request asks for, or the default. Raises `InvalidRequest` where there is neither."""
    name = request.model or registry.routing.default(request.api)
    if not name:
        raise InvalidRequest("model is missing, and no default is configured", code="missing_field", param="model")
    return name


def without_mode(name: str, registry: Registry) -> tuple[str, str | None]:
    """The name without the routing mode that it ends in, where somebody behind it has that mode; and the mode."""
    model, colon, mode = name.rpartition(":")
    target = registry.resolve(name)
    if not colon or target != name or name in registry.models or name in registry.groups:
        return name, None
    behind = (
        each for tier in registry.members(registry.resolve(model)) for one in tier for each in registry.behind(one)
    )
    return (model, mode) if any(mode in each.modes.fields for each in behind) else (name, None)


def permitted_name(name: str, request: Facts, registry: Registry, today: date) -> tuple[str, list[str]]:
    """`known_name`, where the principal may have it: the name that is planned for decides, not the one that led there.
    What stands behind it, and its fallbacks, are the operator's choice. Raises `PermissionDenied`, also for a name that
    is not there, so that nobody learns which names others have."""
    try:
        found, warnings = known_name(name, request, registry, today)
    except ModelNotFound:
        if may_use(request.models, name):
            raise
        found, warnings = name, []
    if may_use(request.models, found, registry.resolve(found)):
        return found, warnings
    hint = did_you_mean(name, usable_names(request.models, registry)) or "; /v1/models lists what it may use"
    became = "" if found == name else f", for which {found[:SHOWN]} stands"
    text = f"this key may not use {name[:SHOWN]}{became}{hint}"
    raise PermissionDenied(text, code="model_not_allowed", param="model")


def usable_names(models: Collection[str], registry: Registry) -> list[str]:
    """The names that may be asked for."""
    return [name for name in registry.names() if may_use(models, name, registry.resolve(name))]


def known_name(name: str, request: Facts, registry: Registry, today: date) -> tuple[str, list[str]]:
    """The name that is planned for, and a warning when it is the successor of the one that was asked for."""
    target = registry.resolve(name)
    routed = bool(registry.routes(target))
    if name == AUTO and (routed or not registry.members(target)):
        chosen = registry.routing.chosen(request)
        if chosen is not None:
            return chosen, []
    if registry.members(target):
        gone = retired(registry.migrations, name, today) if routed else ()
        return next(((each.name, [each.warning]) for each in gone if registry.sold(each.name)), (name, []))
    migrated = migrate(registry.migrations, name, today)
    if migrated is None:
        hint = did_you_mean(name, usable_names(request.models, registry)) or "; /v1/models lists them"
        raise ModelNotFound(f"no model, group or alias is called {name[:SHOWN]}{hint}", param="model")
    if not registry.members(registry.resolve(migrated.name)):
        raise ModelNotFound(f"{migrated.warning}, which is not configured here", param="model")
    return migrated.name, [migrated.warning]


def planned_name(request: Facts, registry: Registry, today: date) -> str:
    """The name that a request is planned for. Raises what its plan would raise."""
    asked, _ = without_mode(asked_name(request, registry), registry)
    return permitted_name(asked, request, registry, today)[0]


def demand_of(name: str, request: Facts, registry: Registry) -> Demand:
    """What is demanded of all that serves a request which is planned for a name."""
    return request.demand & registry.residency.demand(name, registry.resolve(name))

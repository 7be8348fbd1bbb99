"""A plan as text: which deployments are tried in which order and why, and why not the others. Prints, never decides."""

import json
from collections.abc import Iterable, Sequence

from scribe_router.deployment import Deployment
from scribe_router.money import usd
from scribe_router.plan import Candidate, Plan
from scribe_router.policies.prices import Price
from scribe_router.policies.reasoning import encode, yielding
from scribe_router.policies.routing import WEIGHTED
from scribe_router.registry import Registry

CONTEXT = "only when the request is too long, after wider ones of those above"
CONTENT = "only when a provider refuses the content"


def describe(plan: Plan, registry: Registry, *, version: str | None = None) -> str:
    """The plan as lines, made with the registry's configuration or an earlier `version`."""
    question = _question(plan, registry, version or registry.version)
    lines = [question, *_length(plan), *(f"! {warning}" for warning in plan.warnings)]
    sections = (
        ("tried in this order", plan.candidates),
        (CONTEXT, plan.context_window),
        (CONTENT, plan.content_policy),
    )
    tables = [(title, [_cells(n, each, registry) for n, each in enumerate(found, 1)]) for title, found in sections]
    widths = _widths([_HEAD, *(row for _, rows in tables for row in rows)])
    for title, rows in tables:
        if rows:
            lines += ["", title, *(_row(cells, widths) for cells in (_HEAD, *rows))]
    if plan.facts.effort is not None:
        told = [("-", each.deployment, *_effort(_known(registry, each.deployment), plan)) for each in plan.candidates]
        lines += ["", "told to reason", *aligned(told)]
    full = [("-", each.deployment, why) for each in plan.candidates if (why := plan.snapshot.full.get(each.deployment))]
    if full:
        lines += ["", "walked past while they are at a limit of rate", *aligned(full)]
    if plan.excluded:
        left_out = [("-", each.deployment, f"{each.rule}: {each.reason}") for each in plan.excluded]
        lines += ["", "left out", *aligned(left_out)]
    return "\n".join(lines)


_HEAD = ("", "deployment", "provider", "lane", "window", "usd in/out per million", "because of")


def _question(plan: Plan, registry: Registry, version: str) -> str:
    asked = plan.facts.model or "(no model: the default)"
    steps = [asked, *(name for name in (plan.requested, plan.model) if name != asked)]
    kind = "group" if plan.model in registry.groups else "model"
    wishes = [
        plan.facts.api,
        "with tools" if plan.facts.tools else "",
        "with a search" if plan.facts.search else "",
        f"effort {plan.facts.wish}" if plan.facts.wish else "",
        f"task {plan.facts.task}" if plan.facts.task else "",
        f"for {plan.facts.optimize_for}" if plan.facts.optimize_for else "",
        f"ordered by {plan.strategy}" if plan.strategy != WEIGHTED else "",
        f"provider {plan.facts.provider}" if plan.facts.provider else "",
        _arm(plan),
        f"lane {plan.facts.lane}" if plan.facts.lane else "",
        "" if plan.facts.fallback_enabled else "without fallbacks",
        f"configuration {version}",
    ]
    return f"{' -> '.join(dict.fromkeys(steps))} ({kind}): {', '.join(filter(None, wishes))}"


def _arm(plan: Plan) -> str:
    found = plan.exposure
    if found is None:
        return ""
    return f"arm {found.arm} ({found.share:.1%} of units) of {found.experiment} for the unit {found.unit}"


def _length(plan: Plan) -> list[str]:
    """How long the request is, and how that was counted."""
    size = plan.facts.size
    beside = f", with {size.with_it()}" if size.with_it() else ""
    if not size.most:
        return []
    if not size.counted:
        return [f"input: {size.most:,} tokens at most, since it has as many bytes{beside}; no tokenizer was asked"]
    return [
        f"input: {'' if each.end else 'more than '}{each.text:,} tokens of text by {each.encoding}"
        f"{f', {each.tools + each.schema:,} of definitions' if each.tools + each.schema else ''}{beside}"
        for each in size.counted
    ]


def _cells(number: int, candidate: Candidate, registry: Registry) -> tuple[str, ...]:
    deployment = _known(registry, candidate.deployment)
    return (
        f"{number}.",
        candidate.deployment,
        _provider(deployment) if deployment else "gone",
        candidate.lane,
        _tokens(candidate.window),
        _price(deployment.price) if deployment else "gone",
        _reason(candidate),
    )


def _known(registry: Registry, identity: str) -> Deployment | None:
    """A deployment, or None for one of an earlier configuration that is gone."""
    try:
        return registry.deployment(identity)
    except KeyError:
        return None


def _reason(candidate: Candidate) -> str:
    mode = f", mode {candidate.mode}" if candidate.mode else ""
    return f"{candidate.via}{mode}{f': {candidate.score}' if candidate.score else ''}"


def _effort(deployment: Deployment | None, plan: Plan) -> tuple[str, str]:
    """(what is written into the body, what it stands for) below the request's output cap, or the usual one."""
    family, wish = deployment.family if deployment else None, plan.facts.wish
    if deployment is None or family is None or wish is None:
        return "as it was asked", "it is not known how this model is told"
    encoded = encode(family, wish, plan.facts.cap or deployment.cap_for(wish))
    if plan.facts.forces_tool and family.forces(thinking=encoded.level != "none") == "unthinking":
        encoded = yielding(family)
    fields = ", ".join(f"{name}: {json.dumps(value)}" for name, value in encoded.fields.items()) or "nothing"
    return fields, f"{encoded.level}; {encoded.degraded}" if encoded.degraded else encoded.level


def _provider(deployment: Deployment) -> str:
    ordinary = deployment.region in (None, "global", "local")
    return deployment.provider if ordinary else f"{deployment.provider} {deployment.region}"


def _price(price: Price | None) -> str:
    """`2/10`, and with tiers `2/10, above 272,000 4/15`; tokens and USD per million tokens."""
    if price is None:
        return "no price"
    if price.free:
        return "free"
    tiers = [(f"above {above:,} " if above else "") + _figures(price, above) for above, _ in price.tiers]
    return ", ".join(tiers)


def _figures(price: Price, above: int) -> str:
    rates = price.rates(above + 1)
    return f"{usd(rates.input * 1000)}/{usd(rates.output * 1000)}"


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return ("  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))).rstrip()


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells below each other."""
    widths = _widths(table)
    return [_row(cells, widths) for cells in table]


def listing(registry: Registry) -> str:
    """Every name with what is behind it: what can be used, and in brackets what cannot and why."""
    rows = [("name", "kind", "behind it"), *(_entry(name, registry) for name in registry.names())]
    for each in registry.wildcards:
        known = f"{len(each.members)} in the catalogue" if each.members else f"whatever {each.row.provider} knows"
        rows.append((each.row.model, "wildcard", f"nothing ({each.row.missing})" if each.row.missing else known))
    return "\n".join(line[2:] for line in aligned(rows))


def facts_table(registry: Registry) -> str:
    """Every deployment with its window, prices and abilities."""
    head = ("model", "deployment", "provider", "window", "output", "usd in/out per million", "can", "")
    lines = [
        (
            *(each.model, each.id, _provider(each), *map(_tokens, (each.window, each.max_output)), _price(each.price)),
            *(", ".join(sorted(each.supports)) or "-", each.missing or ""),
        )
        for each in (*registry.deployments.values(), *(each.row for each in registry.wildcards))
    ]
    return "\n".join(line[2:] for line in aligned([head, *lines]))


def _tokens(size: int | None) -> str:
    return f"{size:,}" if size else "unknown"


def _entry(name: str, registry: Registry) -> tuple[str, str, str]:
    target = registry.resolve(name)
    kind = "alias" if target != name else "group" if name in registry.groups else "model"
    models = [model for tier in registry.members(target) for model in tier]
    deployments = [each for model in models for each in registry.behind(model)]
    usable = [each.id for each in deployments if each.missing is None]
    missing = "; ".join(dict.fromkeys(each.missing for each in deployments if each.missing))
    behind = ", ".join(usable) or "nothing"
    default = ", default" if name in (registry.routing.default_model, registry.routing.default_embedding_model) else ""
    return name, f"{kind}{default}", f"{behind} ({missing})" if missing else behind


def greeting(registry: Registry, url: str) -> str:
    """What is printed when the proxy starts: where it is, what it serves, and how to call it."""
    usable = [each for each in registry.deployments.values() if each.missing is None]
    sandbox = "echo" in registry.models
    name = "echo" if sandbox else _served(registry, usable)
    key = "" if registry.access is None else ' -H "Authorization: Bearer $SCRIBE_MASTER_KEY"'
    python_key = '"none"' if registry.access is None else 'os.environ["SCRIBE_MASTER_KEY"]'
    notes = [f"  {warning}" for warning in registry.warnings]
    if not usable and all(each.row.missing for each in registry.wildcards):
        notes.append("  no deployment can be used yet: set a key, or start with --sandbox")
    hello = '{"role": "user", "content": "hello"}'
    return "\n".join(
        [
            f"scribe_router at {url}   {len(usable)} deployments, configuration {registry.version}",
            *notes,
            "",
            f"  curl -s {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\",
            f"""    -d '{{"model": "{name}", "messages": [{hello}]}}'""",
            "",
            *(["  import os"] if registry.access is not None else []),
            "  from openai import OpenAI",
            f'  client = OpenAI(base_url="{url}/v1", api_key={python_key})',
            f'  print(client.chat.completions.create(model="{name}", messages=[{hello}]))',
            "",
        ]
    )


def _served(registry: Registry, usable: Sequence[Deployment]) -> str:
    """A name to show: the default if it can be used, else the first chat model that can."""
    chat = [each for each in usable if each.mode == "chat"]
    default = registry.routing.default_model
    behind = registry.members(registry.resolve(default)) if default else ()
    if default and any(each.model in tier for tier in behind for each in chat):
        return default
    return chat[0].model if chat else default or "MODEL"

"""A plan as text: which deployments are tried in which order and why, and why not the others. Prints, never decides."""

from scribe_router.plan import Candidate, Plan
from scribe_router.registry import Registry


def describe(plan: Plan, registry: Registry) -> str:
    """The plan as lines."""
    lines = [
        f"{plan.facts.model or '(no model)'} -> {plan.model}   api {plan.facts.api}   configuration {registry.version}"
    ]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    lines += _section("tried in this order", plan.candidates, registry)
    lines += _section("after a context-length failure", plan.context_window, registry)
    lines += _section("after a content-policy failure", plan.content_policy, registry)
    if plan.excluded:
        lines += ["", "left out"]
        lines += [f"  -  {each.deployment:<28} {each.rule}: {each.reason}" for each in plan.excluded]
    return "\n".join(lines)


def _section(title: str, candidates: tuple[Candidate, ...], registry: Registry) -> list[str]:
    if not candidates:
        return []
    return ["", title, *(f"  {n}. {_line(each, registry)}" for n, each in enumerate(candidates, 1))]


def _line(candidate: Candidate, registry: Registry) -> str:
    deployment = registry.deployments[candidate.deployment]
    window = f"{candidate.window:,} tokens" if candidate.window else "window unknown"
    price = deployment.price
    rates = price.rates(0) if price else None
    cost = f"{rates.input / 1e6:g}/{rates.output / 1e6:g} usd per million" if rates else "no price"
    return f"{candidate.deployment:<28} {candidate.lane:<8} {candidate.via:<32} {window}, {cost}"


def listing(registry: Registry) -> str:
    """Every name with what is behind it."""
    lines = [f"{'name':<28} {'kind':<6} behind it"]
    for name in registry.names():
        target = registry.resolve(name)
        kind = "alias" if target != name else "group" if name in registry.groups else "model"
        models = [model for tier in registry.members(target) for model in tier]
        deployments = [registry.deployments[each] for model in models for each in registry.models[model]]
        usable = [each.id for each in deployments if each.missing is None]
        missing = sorted({each.missing for each in deployments if each.missing})
        behind = ", ".join(usable) if usable else f"nothing: {'; '.join(missing)}"
        lines.append(f"{name:<28} {kind:<6} {behind}")
    return "\n".join(lines)


def greeting(registry: Registry, url: str) -> str:
    """What is printed when the proxy starts: where it is, what it serves, and how to call it."""
    usable = [each for each in registry.deployments.values() if each.missing is None]
    sandbox = "echo" in registry.models
    name = "echo" if sandbox else registry.routing.default_model or (usable[0].model if usable else "MODEL")
    key = "" if registry.access is None else ' -H "Authorization: Bearer $SCRIBE_MASTER_KEY"'
    python_key = '"none"' if registry.access is None else 'os.environ["SCRIBE_MASTER_KEY"]'
    notes = [f"  {warning}" for warning in registry.warnings]
    if not usable:
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
            "  from openai import OpenAI",
            f'  client = OpenAI(base_url="{url}/v1", api_key={python_key})',
            f'  print(client.chat.completions.create(model="{name}", messages=[{hello}]))',
            "",
        ]
    )

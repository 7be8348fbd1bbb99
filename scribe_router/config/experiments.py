"""What is wrong between `policies/experiments.yaml` and the rest: names of nobody, and arms that compare nothing."""

from scribe_router.config.documents import Document
from scribe_router.config.naming import Names
from scribe_router.config.problems import Path_
from scribe_router.names import did_you_mean
from scribe_router.policies.experiments import Experiment, ExperimentsPolicy


def check_experiments(policy: ExperimentsPolicy, document: Document, names: Names) -> None:
    """Report what names nothing, what is another's already, and arms that are one thing under two names."""
    taken: dict[str, str] = {}
    for name, experiment in policy.experiments.items():
        path: Path_ = ("experiments", name)
        if experiment.on in taken:
            document.report((*path, "on"), f"{experiment.on} is under the experiment {taken[experiment.on]} already")
        taken.setdefault(experiment.on, name)
        arms: list[tuple[Path_, str]] = [(("arms", arm, "model"), row.model) for arm, row in experiment.arms.items()]
        for place, model in ((("on",), experiment.on), *arms):
            if not names.has(model):
                hint = did_you_mean(model, names.everything())
                document.report((*path, *place), f"there is no model, group or alias {model}{hint}")
        if not document.wrong(path):
            _check_arms(experiment, path, document, names)


def _check_arms(experiment: Experiment, path: Path_, document: Document, names: Names) -> None:
    seen: dict[str, str] = {}
    of = names.aliases.get(experiment.on, experiment.on)
    modes = {each.mode for each in names.deployments(experiment.on)}
    for arm, row in experiment.arms.items():
        at, target = (*path, "arms", arm, "model"), names.aliases.get(row.model, row.model)
        if target == of and row.model in names.aliases and row.model != experiment.on:
            document.report(at, f"{row.model} is another name of {experiment.on} itself; write {experiment.on}")
        elif target in seen:
            why = f"arms {seen[target]} and {arm} are both served by {target}: they differ by chance alone"
            document.report(at, why, severity="warning")
        seen.setdefault(target, arm)
        others = {each.mode for each in names.deployments(row.model)}
        if modes and others and not modes & others:
            what = f"{row.model} is for {min(others)}, {experiment.on} for {min(modes)}"
            document.report(at, what)

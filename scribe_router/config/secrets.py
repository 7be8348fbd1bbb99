"""`policies/secrets.yaml` to the sources that every other file is read with."""

from collections.abc import Mapping
from pathlib import Path

from scribe_router import plugins
from scribe_router.config.documents import Document
from scribe_router.config.references import PREFIX, look_up, report_doubts, resolve
from scribe_router.config.shapes import validate
from scribe_router.names import did_you_mean
from scribe_router.secrets import Missing, SecretsSettings, Sources, Unresolved


def sources(document: Document, folder: Path, environment: Mapping[str, str]) -> Sources:
    """What the process's `environment` and the file say; paths start at `folder`. Mistakes are added to the
    document."""
    settings = settings_of(document, environment)
    found = Sources.built_in(environment, folder, (settings or SecretsSettings()).file)
    if settings is None or not document.data:
        return found
    try:
        found = found.with_packages()
    except plugins.BrokenPlugin as error:
        document.report((), str(error))
    return found.over({**environment, **_variables(document, settings, found)})


def settings_of(document: Document, environment: Mapping[str, str]) -> SecretsSettings | None:
    """The settings; None when they are wrong. What `environment` refers to is not looked up."""
    if isinstance(document.data, dict):
        for name in ("file", "on_missing"):
            if name in document.data:
                resolve(document, Sources(environment, {}), (name,))
    return validate(document, SecretsSettings)


def _variables(document: Document, settings: SecretsSettings, found: Sources) -> dict[str, str]:
    """The variables that the file sets."""
    values = {}
    for name, reference in settings.environment.items():
        at, scheme = ("environment", name), reference.partition("/")[0]
        if scheme not in found.schemes:
            known = ", ".join(f"{each}/" for each in found.schemes)
            document.report(at, f"expected a reference ({known}){did_you_mean(scheme, found.schemes)}")
            continue
        try:
            values[name] = look_up(reference, found)
        except Missing as error:
            mild = settings.on_missing == "leave_out"
            document.report(at, str(error), severity="warning" if mild else "error")
        except Unresolved as error:
            document.report(at, str(error))
        report_doubts(document, found, at)
        own = found.environment.get(name)
        if not reference.startswith(PREFIX) and own and own != values.get(name):
            document.report(at, f"{name} is set in the environment too; this file decides", severity="warning")
    return values

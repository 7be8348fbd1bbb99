"""A package as pip leaves it: a module and its entry points."""

from pathlib import Path


def installed(site: Path, module: str, entry_points: str) -> None:
    """Put `acme_llm` into the folder `site`; the entry points are those of a `pyproject.toml`."""
    about = site / "acme_llm-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "acme_llm.py").write_text(module, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-llm\nVersion: 1.0\n", encoding="utf-8")
    points = entry_points.replace('[project.entry-points."', "[").replace('"]', "]").replace('"', "")
    (about / "entry_points.txt").write_text(points, encoding="utf-8")

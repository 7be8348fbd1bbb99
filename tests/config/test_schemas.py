"""The JSON Schemas for editors: current, valid, and of one mind with the loader about the shipped files."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.config.documents import Document, load, parse
from scribe_router.config.schemas import schemas
from tests.config.cases import Case, cases

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = schemas()
SHIPPED = [ROOT / "litellm_config.yaml", *sorted((ROOT / "policies").glob("*.yaml*"))]


def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMAS[f"{name}.json"]))


def test_the_files_are_current(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["schema", "--out", str(tmp_path)]).exit_code == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "schemas").iterdir()}
    assert kept == written, "run scribe-router schema"


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMAS[name]))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_fit(path: Path) -> None:
    name = path.name.split(".", 1)[0]
    assert [error.message for error in validator(name).iter_errors(load(path).data)] == []


SHAPED = ("unknown-key-", "type-", "model-missing", "model-list-", "price-negative", "alias-list")


@pytest.mark.parametrize(
    "case",
    [each for each in cases() if each.name.startswith(SHAPED)],
    ids=lambda each: each.name,
)
def test_mistakes_of_shape_are_found_by_an_editor_too(case: Case) -> None:
    found = []
    for name, text in case.files.items():
        data = parse(text, Document(name)).data
        found += list(validator(Path(name).stem).iter_errors(data))
    assert found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("retries", "deadline_seconds: os.environ/SECONDS:600\n"),
        ("budgets", "limits: [{id: os.environ/ID, scope: user, window: day, usd: os.environ/USD:5}]\n"),
        ("access", "master_key: os.environ/KEY\non_missing_key: os.environ/WHAT:error\n"),
        ("providers", "openai: {needs_key: os.environ/A:true, regions: {eu: {price_factor: os.environ/B:1.1}}}\n"),
        ("migrations", "a: {to: b, retires: 2026-12-31}\n"),
        ("litellm_config", "model_list: [{model_name: a, litellm_params: {model: b/c, order: os.environ/ORDER}}]\n"),
    ],
)
def test_references_fit_wherever_the_loader_takes_them(name: str, text: str) -> None:
    assert [error.message for error in validator(name).iter_errors(parse(text, Document(name)).data)] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("budgets", "limits: [{id: a, scope: user, window: day, usd: '5'}]\n"),
        ("retries", "deadline_seconds: '600'\n"),
        (
            "litellm_config",
            "model_list: [{model_name: a, litellm_params: {model: b/c}, model_info: {max_tokens: os.environ/A}}]\n",
        ),
    ],
)
def test_what_the_loader_refuses_does_not_fit(name: str, text: str) -> None:
    assert list(validator(name).iter_errors(parse(text, Document(name)).data))

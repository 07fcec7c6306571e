"""What the documents name must be there."""

import re
from pathlib import Path

import pytest
from control_api import Api

from farebox.cli.main import COMMANDS
from farebox.core.meters import BY_NAME
from farebox.core.queries import GROUPS, MEASURES
from farebox.settings import SETTINGS
from farebox.telemetry import WORKER_COUNTERS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
METHODS = {"get", "post", "put", "patch", "delete"}


def commands(text: str) -> set[str]:
    """The words that follow `farebox` in code; its ready line is no command."""
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", text, re.S)).replace("farebox ready on", "")
    return set(re.findall(r"(?:^|[\s`/])farebox ([a-z]+)", code))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page):
    assert commands(page.read_text()) <= {mount.name for mount in COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_named_in_prose_exists(page):
    sections = "|".join(sorted({row.section for row in SETTINGS if row.section and "*" not in row.section}))
    named = set(re.findall(rf"`(?:\[)?((?:{sections})\.[a-z_]+)", page.read_text()))
    files = {"ledger.duckdb", "ledger.lock"}
    assert named - files <= {row.name for row in SETTINGS}, page.name


def test_the_api_reference_has_every_route(tmp_path):
    api = Api(tmp_path)
    text = (ROOT / "docs/reference/api.md").read_text()
    for path, operations in api.app.openapi()["paths"].items():
        for method in METHODS & set(operations):
            assert re.search(rf"{method.upper()}`?( or `[A-Z]+)? {re.escape(path)}[`,\s]", text), f"{method} {path}"
    api.close()


def test_the_api_reference_has_every_group_and_measure():
    text = (ROOT / "docs/reference/api.md").read_text()
    for name in {*GROUPS, *MEASURES} - set(BY_NAME):
        assert f"`{name}`" in text, name


def test_the_metrics_that_operators_watch_exist():
    text = (ROOT / "docs/how-to/operate.md").read_text()
    counted = {f"farebox_{name}" for name, _help in WORKER_COUNTERS}
    from farebox.control.metrics import KEEPER_COUNTERS, KEEPER_GAUGES

    known = counted | {name for _, name, _ in (*KEEPER_COUNTERS, *KEEPER_GAUGES)} | {"farebox_keeper_up"}
    assert {name.removesuffix("_total") for name in re.findall(r"farebox_[a-z_]+", text)} <= known

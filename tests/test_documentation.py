"""What the documents name must be there."""

import re
from pathlib import Path

import msgspec
import pytest
from control_api import Api

from farebox.cli.main import COMMANDS
from farebox.core.meters import BY_NAME
from farebox.core.queries import GROUPS, MEASURES
from farebox.settings import SETTINGS
from farebox.telemetry import WORKER_COUNTERS
from tools.describe_metering import as_markdown
from tools.describe_reports import as_markdown as reports_as_markdown
from tools.overlay import File

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
    files = {"ledger.duckdb", "ledger.lock", "alerts.sqlite"}
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
    from farebox.control.metrics import ALERTS, KEEPER_COUNTERS, KEEPER_GAUGES

    known = counted | {name for _, name, _ in (*KEEPER_COUNTERS, *KEEPER_GAUGES, *ALERTS)} | {"farebox_keeper_up"}
    assert {name.removesuffix("_total") for name in re.findall(r"farebox_[a-z_]+", text)} <= known


def test_the_table_of_what_is_metered_how_is_up_to_date():
    page = ROOT / "docs/reference/metering.md"
    assert page.read_text() == as_markdown(), "run: python -m tools.describe_metering > docs/reference/metering.md"


def test_the_page_of_reports_is_up_to_date():
    page = ROOT / "docs/reference/reports.md"
    assert page.read_text() == reports_as_markdown(), (
        "run: python -m tools.describe_reports > docs/reference/reports.md"
    )


def test_a_provider_is_added_by_following_its_page(tmp_path):
    """The page's code, put into one file in the order in which it stands there, runs and keeps its promises."""
    text = (ROOT / "docs/how-to/add-a-provider.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 3
    scope: dict[str, object] = {"__name__": "parrot"}
    for block in blocks:
        exec(compile(block, "add-a-provider.md", "exec"), scope)
    assert scope["PARROT"].name == "parrot"
    magpie = scope["MAGPIE"]
    endpoint = magpie.endpoint("POST", "/v1/chat/completions")
    reader = magpie.reader(endpoint, magpie.intent(endpoint, b"{}"), 200, {"content-type": "application/json"})
    reader.feed(b'{"choices":[{}],"usage":{"prompt_tokens":3,"completion_tokens":2,"fetches":2}}')
    assert reader.metered().usage == {"input": 3, "output": 2, "web_fetch": 2}
    [_settings, price] = re.findall(r"```toml\n(.*?)```", text, re.S)
    [entry] = msgspec.toml.decode(price, type=File).price
    assert entry.source

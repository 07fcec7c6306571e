"""The dashboard over an empty directory and a ledger that answers what it is told, and a browser's side of it."""

import functools
import re
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from control_api import NOW_US, FakeKeeper
from starlette.testclient import TestClient

from farebox.alerts.outbox import Outbox
from farebox.core.queries import UsageQuery
from farebox.dashboard.app import create_app
from farebox.dashboard.cookies import FORM_FIELD
from farebox.dashboard.page import Page
from farebox.dashboard.pages import PAGES
from farebox.dashboard.parts import Parts
from farebox.dashboard.passwords import Passwords
from farebox.directory.rows import UserRow
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.reports.report import Answer, Asked, Chart, Column, Option, Section
from farebox.settings import Settings

PASSWORD = "a long password"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""The real thing takes a tenth of a second each time."""
NASTY = "<script>alert('x')</script>\"&/..%2F"
EVENT: dict[str, Any] = {
    "id": "01a219b6-3c9a-739f-b815-a79e0128490b", "call_id": "c", "attempt": 1, "kind": "charge", "state": "done",
    "started_at": "2026-11-26T21:15:03.194293Z", "finished_at": "2026-11-26T21:15:06.583293Z", "latency_ms": 3389,
    "first_byte_ms": 582, "tenant": "acme", "user": "u_2", "tier": "pro", "feature": "chat", "tags": {"region": "eu"},
    "key_id": "key_1", "provider": "openai", "operation": "chat", "endpoint": "/v1/chat/completions", "error": None,
    "model_requested": "gpt-4.1-mini", "model_billed": "gpt-4.1-mini-2025-04-14", "status": 200, "streaming": True,
    "usage": {"input": 2260, "cache_read": 128, "output": 292}, "usage_raw": {"prompt_tokens": 2388}, "byok": False,
    "service_tier": None, "cost_usd": "0.001384000000", "cost_source": "computed", "reported_cost_usd": None,
    "cost_difference_usd": None, "price_id": "a68", "price_from": "2025-04-14", "marks": [], "saved_usd": None,
    "limits": {"admitted": [], "warned": [], "dry_run": [], "refused_by": None, "downgraded_by": None},
}  # fmt: skip
EVIDENCE = {
    "event": EVENT,
    "attempts": [EVENT],
    "corrections": [],
    "cost_now_usd": "0.001384000000",
    "arithmetic": [
        {"meter": "input", "count": 2260, "rate": "0.40", "per": 1000000, "amount": "0.000904000000"},
        {"meter": "cache_read", "count": 128, "rate": "0.10", "per": 1000000, "amount": "0.000012800000"},
        {"meter": "output", "count": 292, "rate": "1.60", "per": 1000000, "amount": "0.000467200000"},
    ],
}


def usage(query: UsageQuery, names: tuple[str, ...] = ("acme", "globex", NASTY)) -> dict[str, Any]:
    """An answer to any question about sums: a row for each name, of all measures."""
    values = {
        "calls": 7, "attempts": 8, "spend": "12.345600000000", "avg_cost": "1.763657142857", "spend_estimated": "1.5",
        "calls_unpriced": 1, "last_at": "2026-11-26T21:13:15.748172Z",
    }  # fmt: skip
    measured = {name: values.get(name, 3) for name in query.measures}
    times = {"day": "2027-01-10", "hour": "2027-01-15T07:00:00Z", "month": "2026-12"}
    groups = [
        {group: times.get(group, name) for group in query.group_by} for name in names[: 1 if not query.group_by else 9]
    ]
    return {"columns": [*query.group_by, *query.measures], "rows": [{**group, **measured} for group in groups]}


@functools.cache
def _empty_directory() -> bytes:
    """Its tables are made once for all tests."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "directory.sqlite3"
        Directory(path, Vault(b"k" * 32)).close()
        return path.read_bytes()


class Losses:
    """A report with everything that an answer can hold."""

    name, title, question, period = "losses", "Losses", "Who costs more than they pay?", "month"
    options = (Option("floor", "smallest loss", "0"),)

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def answer(self, asked: Asked, facts: object) -> Answer:
        self.asked.append(asked)
        columns = (
            Column("tenant", "Customer", door="tenant"),
            Column("month", "Month", "month"),
            Column("margin", "Margin", "usd", "Revenue less AI cost."),
            Column("margin_share", "Share", "percent"),
            Column("cost", "Cost", "usd"),
            Column("flag", "Flag", "flag"),
        )
        rows = [
            {"tenant": "acme", "month": "2026-11", "margin": Decimal("-412.1"), "margin_share": Decimal("-41.2"),
             "cost": Decimal("0.00001"), "flag": "loss"},
            {"tenant": NASTY, "month": "2026-11", "margin": None, "margin_share": None, "cost": Decimal(12480),
             "flag": None},
        ]  # fmt: skip
        chart = Chart(title="Margin by month", kind="columns", rows=rows, x="month", y="cost", series="tenant")
        bars = Chart(title="Costs", kind="bars", rows=rows, x="tenant", y="margin")
        lines = Chart(title="Line", kind="lines", rows=rows, x="month", y="cost")
        part = Section(title="And", sentence="More.", columns=columns[:3], rows=rows[:1], charts=(lines,))
        return Answer(
            sentence="One customer loses $412.10.", columns=columns, rows=rows, charts=(chart, bars),
            totals={"margin": Decimal("-412.1"), "cost": Decimal("12480.00001")}, notes=("Nothing is estimated.",),
            sections=(part,),
        )  # fmt: skip


class Keeper(FakeKeeper):
    """Answers may be functions of the parameters, too."""

    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any:
        answer = await super().call(method, params, timeout_s=timeout_s)
        return answer(params) if callable(answer) else answer


class Site:
    def __init__(self, home: Path, settings: Settings | None = None, pages: tuple[Page, ...] = PAGES, **parts: Any):
        self.keeper = Keeper()
        self.keeper.answers |= {
            "usage": usage,
            "events": {"data": [EVENT], "next_cursor": "more"},
            "event": EVIDENCE,
            "limits_near": [],
            "limits_explain": {"limits": []},
            "unpriced": [],
        }
        (home / "directory.sqlite3").write_bytes(_empty_directory())
        self.directory = Directory(home / "directory.sqlite3", Vault(b"k" * 32), clock_us=lambda: self.now_us)
        self.outbox = Outbox(home / "alerts.sqlite3")
        self.now_us = NOW_US
        self.passwords = Passwords(QUICK)
        self.parts = Parts(
            keeper=self.keeper,
            directory=self.directory,
            outbox=self.outbox,
            settings=settings or Settings(data=home),
            now_us=lambda: self.now_us,
            passwords=self.passwords,
            **parts,
        )
        self.app = create_app(self.parts, pages)
        scheme = "https" if self.parts.is_secure else "http"
        self._new: Callable[[], TestClient] = lambda: TestClient(
            self.app, base_url=f"{scheme}://farebox.test", raise_server_exceptions=False, follow_redirects=False
        )
        self.client = self._new()
        """Somebody who is not logged in."""

    def user(self, role: str, name: str = "") -> UserRow:
        return self.directory.users.create(name or role, role, QUICK.hash(PASSWORD))

    def logged_in(self, role: str = "admin", name: str = "") -> "Browser":
        self.user(role, name)
        browser = Browser(self._new())
        answer = browser.log_in(name or role)
        assert answer.status_code == 303, answer.text
        return browser

    def visitor(self) -> "Browser":
        return Browser(self._new())

    def close(self) -> None:
        self.client.close()
        self.directory.close()
        self.outbox.close()


class Browser:
    """A browser: it keeps cookies, and sends forms with the token of the page they stand on."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def token(self, page: str) -> str:
        found = re.search(f'name="{FORM_FIELD}" value="([0-9a-f]+)"', self.get(page).text)
        assert found, page
        return found[1]

    def send(self, page: str, path: str, /, headers: dict[str, str] | None = None, **fields: str) -> Any:
        """Send a form of `page` to a path."""
        return self.client.post(path, data={FORM_FIELD: self.token(page), **fields}, headers=headers)

    def log_in(self, name: str, password: str = PASSWORD, **fields: str) -> Any:
        return self.send("/login", "/login", name=name, password=password, **fields)

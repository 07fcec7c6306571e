"""Puts alerts together for the web process: rules and channels from the directory, figures from the keeper."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from farebox.alerts.dispatcher import Dispatcher, send_test
from farebox.alerts.evaluation import Evaluation
from farebox.alerts.outbox import Outbox
from farebox.alerts.service import Alerts
from farebox.alerts.targets import Target
from farebox.control.parts import Parts
from farebox.control.reporting import books_of, limits_of
from farebox.control.scheduled import WeeklyMail
from farebox.core.alert_rules import Rule
from farebox.core.limits import Limit
from farebox.core.margin_accounts import customers_meant
from farebox.core.thresholds import Fact
from farebox.directory.rows import ChannelRow
from farebox.directory.store import Directory
from farebox.errors import NotFound
from farebox.ledger.client import SOCKET_NAME, KeeperClient
from farebox.reports.facts import AskedFacts
from farebox.settings import Settings, run_dir

ASK_TIMEOUT_S = 30.0
AUTHOR = "alerts"


def alerts_of(settings: Settings, directory: Directory, outbox: Outbox, now_us: Callable[[], int]) -> Alerts:
    keeper = KeeperClient(run_dir(settings) / SOCKET_NAME)  # used by the one thread that evaluates
    entries = InForce(directory)
    evaluation = Evaluation(
        lambda method, params: keeper.call(method, params, ASK_TIMEOUT_S),
        entries.rules,
        entries.limits,
        outbox,
        now_us,
        books=lambda: directory.books(now_us()),
        anchor_days=entries.anchor_days,
    )
    dispatcher = Dispatcher(
        outbox,
        lambda channel: open_target(directory, channel),
        lambda channel, why: directory.channels.disable(channel, why, by=AUTHOR),
        now_us,
        dashboard_url=settings.alerts.dashboard_url,
        attempts_max=settings.alerts.attempts_max,
        base_s=settings.alerts.retry_s,
        owner_of=lambda facts: owner_of(directory, facts),
    )
    own = settings.alerts
    weekly = WeeklyMail(
        outbox,
        lambda: AskedFacts(
            lambda method, params: keeper.call(method, msgspec.to_builtins(params), ASK_TIMEOUT_S),
            limits_of(directory),
            books_of(directory),
        ),
        now_us,
        channels=settings.reports.weekly_channels,
        weekly_at=settings.reports.weekly_at,
        time_zone=settings.books.time_zone,
        dashboard_url=own.dashboard_url,
    )
    return Alerts(
        outbox,
        evaluation,
        dispatcher,
        now_us,
        limits_s=own.limits_s,
        ledger_s=own.ledger_s,
        keep_days=own.keep_days,
        further=(weekly.look,),
    )


def owner_of(directory: Directory, facts: Mapping[str, Fact]) -> str | None:
    """The e-mail address of whoever owns the customer that an alert is about; None where there is none."""
    for tenant in customers_meant(facts):
        with suppress(NotFound):
            return directory.customers.get(tenant).spec.owner_email or None
    return None


def open_target(directory: Directory, channel: str) -> Target | None:
    """The channel of an id or name, its secrets in the clear; None where there is none. Raises SecretsError."""
    try:
        row = directory.channels.get(channel)
    except NotFound:
        return None
    return target_of(directory, row)


def target_of(directory: Directory, row: ChannelRow) -> Target:
    opened = directory.channels.open(row)
    disabled = None if row.disabled_at_us is None else row.note or "by hand"
    return Target(row.id, row.name, row.kind, opened.url, opened.secret, row.to, row.allow_private, disabled)


def tester_of(parts: Parts) -> Callable[[str], None]:
    """Sends a message to a channel now. Raises NotFound, DeliveryFailed."""

    def test(channel: str) -> None:
        target = target_of(parts.directory, parts.directory.channels.get(channel))
        send_test(target, parts.now_us(), parts.settings.alerts.dashboard_url)

    return test


class InForce:
    """The directory's alert rules, limits and billing days, read anew only where it has changed. For one thread."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._revision = -1
        self._rules: tuple[Rule, ...] = ()
        self._limits: tuple[Limit, ...] = ()
        self._anchor_days: dict[str, int] = {}

    def rules(self) -> tuple[Rule, ...]:
        self._look()
        return self._rules

    def limits(self) -> tuple[Limit, ...]:
        self._look()
        return self._limits

    def anchor_days(self) -> dict[str, int]:
        self._look()
        return self._anchor_days

    def _look(self) -> None:
        revision = self._directory.revision
        if revision != self._revision:
            self._rules = tuple(row.rule for row in self._directory.alert_rules.list())
            self._limits = tuple(row.limit for row in self._directory.limits.list())
            self._anchor_days = self._directory.customers.anchor_days()
            self._revision = revision

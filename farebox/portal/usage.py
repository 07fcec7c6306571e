"""A customer's usage as it may be shown to that customer: its billing month, limits, users and months before."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool

from farebox.core.customers import Books, Customer, Plan
from farebox.core.events import iso_us
from farebox.core.figures import count
from farebox.core.limits import Limit
from farebox.core.money import parse_usd
from farebox.core.queries import LIMIT_MAX, UsageQuery
from farebox.core.windows import Window, window_at, zone
from farebox.directory.store import Directory
from farebox.portal.limits import questions, told
from farebox.reports.allowances import COUNTED, plan_of
from farebox.reports.months import local
from farebox.settings import Settings

MONTHS: Final = 6
"""Billing months that are shown, with the current one."""
USERS_MAX: Final = 200
ANSWER_MARGIN_S: Final = 5
"""The keeper ends a question that takes too long; only then does the wait for its answer end."""


class Keeper(Protocol):
    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any: ...


class Shop:
    """Answers for one customer at a time."""

    def __init__(self, keeper: Keeper, directory: Directory, settings: Settings) -> None:
        self._keeper = keeper
        self._directory = directory
        self._time_zone = settings.books.time_zone
        self._timeout_s = settings.ledger.query_timeout_s + ANSWER_MARGIN_S

    async def usage(self, tenant: str, user: str | None, now_us: int, *, is_alone: bool = False) -> dict[str, Any]:
        """What is used and what is included, as JSON has it. With `user` its limits and its own usage, too; `is_alone`
        tells nothing of the customer as a whole. Raises FareboxError."""
        books, limits = await run_in_threadpool(self._known, now_us)
        customer = books.customers.get(tenant, Customer(tenant=tenant))
        months = _months(customer, now_us, self._time_zone)
        plan = plan_of(books, customer, months[-1], self._time_zone)
        whose = user if is_alone else None
        counts = [await self._counted(tenant, whose, month) for month in months]
        await self._add_units(tenant, whose, months, counts)
        window = months[-1]
        answer = {
            "tenant": tenant,
            "name": customer.name or None,
            "user": user,
            "plan": None if plan is None else plan.name,
            "period": {"starts_at": iso_us(window.start_us), "resets_at": _iso(window.end_us)},
            "units": _units(plan, counts[-1], _iso(window.end_us), is_alone),
            "requests": counts[-1].get("requests", 0),
            "tokens": counts[-1].get("tokens", 0),
            "limits": await self._limits(limits, tenant, customer, user, now_us, is_alone),
            "history": _history(months, counts, self._time_zone),
        }
        if plan is not None and plan.seats is not None and not is_alone:
            answer |= {"seats": plan.seats, **await self._users(tenant, user, window)}
        return answer

    def _known(self, now_us: int) -> tuple[Books, dict[str, Limit]]:
        limits = {row.limit.id: row.limit for row in self._directory.limits.list()}
        return self._directory.books(now_us=now_us), limits

    async def _counted(self, tenant: str, user: str | None, window: Window) -> dict[str, int]:
        """Of a period: requests, tokens, and what a plan may include in pico-dollars (never shown as such)."""
        where = _where(tenant, user)
        query = UsageQuery(
            since_us=window.start_us,
            until_us=window.end_us,
            where=where,
            measures=("calls", "tokens", "spend"),
            limit=1,
        )
        rows = (await self._ask("usage", query))["rows"]
        if not rows:
            return {"requests": 0, "tokens": 0, "usd": 0}
        spend = rows[0]["spend"]
        counted = {"requests": rows[0]["calls"] or 0, "tokens": rows[0]["tokens"] or 0}
        return counted if spend is None else {**counted, "usd": parse_usd(spend)}

    async def _add_units(
        self, tenant: str, user: str | None, months: list[Window], counts: list[dict[str, int]]
    ) -> None:
        edges = [month.start_us for month in months] + [months[-1].end_us]
        for row in await self._ask("customer_units", {"tenant": tenant, "user": user, "edges_us": edges}):
            if row["unit"] not in COUNTED:
                counts[row["period"]][row["unit"]] = row["used"]

    async def _limits(
        self,
        limits: Mapping[str, Limit],
        tenant: str,
        customer: Customer,
        user: str | None,
        now_us: int,
        is_alone: bool,
    ) -> list[dict[str, Any]]:
        tier = await run_in_threadpool(lambda: customer.plan_on(self._directory.today(now_us)))
        explained: list[Mapping[str, Any]] = []
        for question in questions(limits.values(), tenant, tier, user):
            explained += (await self._ask("limits_explain", question))["limits"]
        return told(explained, limits, tenant, user if is_alone else None)

    async def _users(self, tenant: str, user: str | None, window: Window) -> dict[str, Any]:
        where = _where(tenant, user)
        query = UsageQuery(
            group_by=("user",), since_us=window.start_us, until_us=window.end_us, where=where,
            measures=("calls", "tokens"), order="-calls", limit=LIMIT_MAX,
        )  # fmt: skip
        rows = (await self._ask("usage", query))["rows"]
        question = {
            "tenant": tenant, "user": user, "edges_us": [window.start_us, window.end_us], "by_user": True,
        }  # fmt: skip
        units: dict[str | None, dict[str, int]] = {}
        for row in await self._ask("customer_units", question):
            units.setdefault(row["user"], {})[row["unit"]] = row["used"]
        users = [
            {
                "user": row["user"],
                "requests": row["calls"],
                "tokens": row["tokens"],
                "units": units.get(row["user"], {}),
            }
            for row in rows[:USERS_MAX]
        ]
        return {"users": users, "users_left_out": max(0, len(rows) - USERS_MAX)}

    async def _ask(self, method: str, params: object) -> Any:
        return await self._keeper.call(method, params, timeout_s=self._timeout_s)


def _months(customer: Customer, now_us: int, time_zone: str) -> list[Window]:
    """The current billing month and those before it, oldest first; none from before the customer's start."""
    found = [window_at("billing", now_us, zone(time_zone), customer.anchor_day)]
    while len(found) < MONTHS and found[0].start_us > 0:
        before = window_at("billing", found[0].start_us - 1, zone(time_zone), customer.anchor_day)
        if customer.started_on is not None and local(found[0].start_us, time_zone) <= f"{customer.started_on}":
            break
        found.insert(0, before)
    return found


def _units(
    plan: Plan | None, counted: Mapping[str, int], resets_at: str | None, is_alone: bool
) -> list[dict[str, Any]]:
    """Each unit that is included, and each that was used besides. What a plan includes is the whole customer's."""
    included = {} if plan is None or is_alone else plan.included
    beside = [unit for unit in counted if unit not in COUNTED and unit not in included]
    return [_unit(unit, counted, included.get(unit), resets_at) for unit in [*sorted(included), *sorted(beside)]]


def _unit(unit: str, counted: Mapping[str, int], included: int | None, resets_at: str | None) -> dict[str, Any]:
    used: int | None = counted.get(unit, None if unit == "usd" else 0)
    percent = None if used is None or included is None else used * 100 // included if included else 100
    if unit == "usd":
        # Money is told as a share.
        used, included, unit = percent, 100, "percent"
        text = f"{'–' if percent is None else count(percent)} % of the allowance"
    elif included is None:
        text = f"{count(used)} {unit}"
    else:
        text = f"{count(used)} of {count(included)} {unit}"
    left = None if used is None or included is None else max(0, included - used)
    beyond = None if used is None or included is None else max(0, used - included)
    return {
        "unit": unit,
        "used": used,
        "included": included,
        "left": left,
        "beyond": beyond,
        "percent": percent,
        "text": text,
        "resets_at": resets_at,
    }


def _history(months: list[Window], counts: list[dict[str, int]], time_zone: str) -> list[dict[str, Any]]:
    """From the first month with any usage on; the current one in any case."""
    first = next((number for number, counted in enumerate(counts) if any(counted.values())), len(months) - 1)
    pairs = zip(months[first:], counts[first:], strict=True)
    return [_month(month, counted, time_zone) for month, counted in pairs]


def _where(tenant: str, user: str | None) -> dict[str, tuple[str, ...]]:
    return {"tenant": (tenant,)} if user is None else {"tenant": (tenant,), "user": (user,)}


def _month(window: Window, counted: Mapping[str, int], time_zone: str) -> dict[str, Any]:
    return {
        "from": local(window.start_us, time_zone),
        "until": local((window.end_us or window.start_us + 1) - 1, time_zone),
        "requests": counted.get("requests", 0),
        "tokens": counted.get("tokens", 0),
        "units": {unit: used for unit, used in sorted(counted.items()) if unit not in COUNTED},
    }


def units_named(answer: Mapping[str, Any]) -> list[str]:
    """The units that an answer's history and users speak of."""
    rows: Iterable[Mapping[str, Any]] = [*answer["history"], *answer.get("users", ())]
    return sorted({unit for row in rows for unit in row["units"]})


def _iso(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso_us(moment_us)

"""Findings in words: a title, one sentence or two with subject, amounts, window and what to do, and where to look."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from farebox.core.events import iso_us
from farebox.core.figures import count, money, share
from farebox.core.thresholds import USED_UP, Fact, Finding

Level = Literal["info", "warning", "critical"]
Facts = Mapping[str, Fact]
PREVIEW_MAX: Final = 120
"""Characters of a subject or model in a text: callers choose them."""


class Message(msgspec.Struct, frozen=True):
    """What a channel is told. `path` is the page of the dashboard that shows more."""

    title: str
    text: str
    path: str
    level: Level = "warning"


def message(finding: Finding) -> Message:
    return _TEXTS[finding.kind](finding)


def trial_message() -> Message:
    """What `farebox alerts test` sends."""
    return Message("Farebox test message", "This channel works: alerts of Farebox will arrive here.", "/alerts", "info")


def flood_message(hourly_max: int, kind: str) -> Message:
    """In place of what goes beyond a rule's messages of an hour."""
    return Message(
        f"Many alerts of one kind: {kind}",
        f"More than {hourly_max} alerts of this rule within the hour: the further ones are not sent, "
        "`farebox alerts history` lists them all. Raise the rule's thresholds, or its hourly_max.",
        "/alerts",
    )


def _limit(finding: Finding) -> Message:
    facts = finding.facts
    whom, window = _whom(facts["per"], facts["subject"]), _window(facts)
    used, amount = _amount(facts["used"], facts), _amount(facts["amount"], facts)
    reset = _resets(facts)
    path = f"/limits/{quote(str(facts['limit_id']))}"
    if finding.threshold == USED_UP:
        title = f"Limit used up: {whom}"
        text = f"{_first(whom)} has used {used} of {amount}{window}. {_AT_THE_END[str(facts['action'])]}{reset}"
        return Message(title, f"{text} To let it go on, raise limit {facts['limit_id']}.", path, "critical")
    title = f"{_percent(facts['share'])} of a limit used: {whom}"
    text = f"{_first(whom)} has used {used} of {amount}{window}. {_BEFORE_THE_END[str(facts['action'])]}{reset}"
    return Message(title, f"{text} Raise limit {facts['limit_id']} if that is too early.", path)


def _limit_projected(finding: Finding) -> Message:
    facts = finding.facts
    whom, amount = _whom(facts["per"], facts["subject"]), _amount(facts["amount"], facts)
    at = _moment(str(facts["used_up_at"]))
    return Message(
        f"Limit will not last: {whom}",
        f"{_first(whom)} has used {_amount(facts['used'], facts)} of {amount}{_window(facts)} and at this pace reaches "
        f"{_amount(facts['projected'], facts)}: used up about {at}.{_resets(facts)} Raise limit {facts['limit_id']}, "
        "or see what it spends on.",
        f"/limits/{quote(str(facts['limit_id']))}",
    )


def _spend_spike(finding: Finding) -> Message:
    facts = finding.facts
    whom = _whom(facts["per"], facts["subject"])
    spend, usual = Decimal(str(facts["spend"])), Decimal(str(facts["usual"]))
    when = "today so far" if facts["span"] == "day" else "in the last hour"
    against = f"{_times(spend, usual)} the usual {money(usual)}" if usual > 0 else "where there is usually nothing"
    return Message(
        f"Spend spike: {whom}",
        f"{_first(whom)} spent {money(spend)} {when}, {against} (median of the same time on the last seven days). "
        "Look at its calls; a limit would cap it.",
        _page(facts["per"], facts["subject"]),
    )


def _unpriced(finding: Finding) -> Message:
    facts = finding.facts
    model, provider = _cut(facts["model"]), _cut(facts["provider"])
    return Message(
        f"No price: {provider}/{model}",
        f"{_number(facts['calls'], 'call')} to {provider}/{model} since {_day(finding.window_start_us)} could not be "
        "priced, so their cost is unknown. Give the model a price with `farebox prices set`, then `farebox prices "
        "reprice`.",
        "/prices",
    )


def _error_rate(finding: Finding) -> Message:
    facts = finding.facts
    whom = _whom(facts["per"], facts["subject"])
    return Message(
        f"Many errors: {whom}",
        f"{_first(whom)}: {_of(facts)} attempts failed in the last {_span(facts)}. See which status they end with in "
        "the call log.",
        "/calls?state=upstream_error",
    )


def _fallback_rate(finding: Finding) -> Message:
    facts = finding.facts
    whom = _whom(facts["per"], facts["subject"])
    part, whole = int(str(facts["part"])), int(str(facts["whole"]))
    return Message(
        f"Many fallbacks: {whom}",
        f"{_first(whom)}: {_number(part, 'further attempt')} for {_number(whole, 'call')} in the last {_span(facts)}. "
        "A provider may be failing; each attempt that was answered is paid for.",
        "/calls",
    )


def _provider_down(finding: Finding) -> Message:
    facts = finding.facts
    provider, status = _cut(facts["provider"]), facts["status"]
    how = f"the last with status {status}" if status else "the last without an answer"
    return Message(
        f"Provider down: {provider}",
        f"The latest {facts['calls']} calls to {provider} within {_span(facts)} all failed, {how}. Check the "
        f"provider's status page, and `farebox providers test {provider}`.",
        "/providers",
        "critical",
    )


def _ledger_lag(finding: Finding) -> Message:
    lag = _number(finding.facts["lag_s"], "second")
    if finding.facts["answers"]:
        title, text = "The ledger is behind", f"Calls reach the ledger {lag} late: figures and limits lag behind."
    else:
        title, text = "The ledger does not answer", f"The keeper has not answered for {lag}."
    text += " Nothing is lost, calls are journalled. Check the disk, and the log of `farebox serve`."
    return Message(title, text, "/settings", "critical")


def _new_subjects(finding: Finding) -> Message:
    per = "customer" if finding.facts["per"] == "tenant" else "user"
    return Message(
        f"Many new {per}s",
        f"{_number(finding.facts['count'], f'{per}')} unknown for seven days made calls within a minute. "
        "Check whether an application sends session ids in place of ids, or a key is misused.",
        "/customers" if per == "customer" else "/users",
    )


def _margin(finding: Finding) -> Message:
    facts = finding.facts
    customer, plan = _cut(facts["subject"]), _cut(facts["plan"])
    cost = money(Decimal(str(facts["cost"])))
    path = f"/customers/{quote(str(facts['subject']), safe='')}"
    if finding.threshold == "negative":
        revenue = money(Decimal(str(facts["revenue"])))
        return Message(
            f"Customer at a loss: {customer}",
            f"Customer {customer} (plan {plan}) has cost {cost} this month and pays {revenue}. Set it a limit, or move "
            "it to another plan.",
            path,
            "critical",
        )
    expected = Decimal(str(facts["expected"]))
    return Message(
        f"{_percent(facts['share'])} of the expected AI cost used: {customer}",
        f"Customer {customer} (plan {plan}) has cost {cost} this month, {share(Decimal(str(facts['cost'])), expected)} "
        f"of the {money(expected)} that its plan expects. See what it spends on.",
        path,
    )


_TEXTS: Final[dict[str, Callable[[Finding], Message]]] = {
    "limit": _limit,
    "limit_projected": _limit_projected,
    "spend_spike": _spend_spike,
    "unpriced": _unpriced,
    "error_rate": _error_rate,
    "fallback_rate": _fallback_rate,
    "provider_down": _provider_down,
    "ledger_lag": _ledger_lag,
    "new_subjects": _new_subjects,
    "margin": _margin,
}
_AT_THE_END: Final = {
    "block": "Its calls are now refused.",
    "downgrade": "Its calls now go to a cheaper model.",
    "throttle": "Its calls are now slowed down.",
    "warn": "Its calls go on: the limit only warns.",
    "dry_run": "Its calls go on: the limit is a dry run.",
}
_BEFORE_THE_END: Final = {
    "block": "Once it is used up, calls are refused.",
    "downgrade": "Once it is used up, calls go to a cheaper model.",
    "throttle": "Once it is used up, calls are slowed down.",
    "warn": "Calls go on beyond it: the limit only warns.",
    "dry_run": "Calls go on beyond it: the limit is a dry run.",
}


def _whom(per: Fact, subject: Fact) -> str:
    if per == "all":
        return "all together"
    return f"{str(per).removeprefix('tag.')} {_cut(subject)}"


def _page(per: Fact, subject: Fact) -> str:
    if per == "tenant":
        return f"/customers/{quote(str(subject), safe='')}"
    return "/overview" if per == "all" else f"/calls?{quote(str(per))}={quote(str(subject), safe='')}"


def _cut(value: Fact) -> str:
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return text if len(text) <= PREVIEW_MAX else f"{text[: PREVIEW_MAX - 1]}…"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _amount(value: Fact, facts: Facts) -> str:
    if facts["unit"] == "usd":
        return money(Decimal(str(value)))
    return f"{count(int(str(value)))} {facts['unit']}"


def _number(value: Fact, noun: str) -> str:
    number = int(str(value))
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def _of(facts: Facts) -> str:
    part, whole = int(str(facts["part"])), int(str(facts["whole"]))
    return f"{count(part)} of {count(whole)} ({share(Decimal(part), Decimal(whole))})"


def _percent(part: Fact) -> str:
    text = f"{Decimal(str(part)) * 100:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _times(spend: Decimal, usual: Decimal) -> str:
    return f"{spend / usual:,.1f} times"


def _span(facts: Facts) -> str:
    seconds = int(str(facts["within_s"]))
    if seconds % 3600 == 0:
        return _number(seconds // 3600, "hour")
    return _number(seconds // 60, "minute") if seconds % 60 == 0 else _number(seconds, "second")


def _window(facts: Facts) -> str:
    match facts["window"]:
        case "lifetime":
            return " in all"
        case "billing":
            return " this billing month"
        case "day":
            return " today"
        case window:
            return f" this {window}"


def _resets(facts: Facts) -> str:
    return "" if facts["window_end"] is None else f" Resets {_moment(str(facts['window_end']))}."


def _moment(iso: str) -> str:
    at = datetime.fromisoformat(iso)
    return f"{at.day} {at:%b %H:%M} UTC"


def _day(moment_us: int) -> str:
    at = datetime.fromisoformat(iso_us(moment_us))
    return f"{at.day} {at:%b}"

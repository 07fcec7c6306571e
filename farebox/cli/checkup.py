"""What `farebox doctor` looks at. Each check gives findings; none changes anything."""

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Literal

import httpx
import msgspec

from farebox.core import figures
from farebox.directory.snapshot import ProviderView
from farebox.settings import Paywall

State = Literal["ok", "note", "warn", "broken"]
Row = Mapping[str, object]

REACH_TIMEOUT_S: Final = 8
SKEW_WARN_S: Final = 5
SKEW_BROKEN_S: Final = 300
LAG_WARN_S: Final = 10
DISK_WARN_BYTES: Final = 5 * 1024**3
SEGMENTS_FREE_MIN: Final = 8
"""Below room for so many journal segments, the journal is about to stop."""


class Finding(msgspec.Struct, frozen=True):
    """One line of the examination. `advice` says what to do; '' where nothing needs to be done."""

    name: str
    state: State
    detail: str
    advice: str = ""


def paywall_findings(paywall: Paywall) -> Iterator[Finding]:
    """Whether what is sold can be redeemed. Nothing to say where nothing is sold."""
    if not paywall.is_on:
        return
    if not any(link.startswith("plink_") for link in (paywall.payment_link, paywall.payment_link_id)):
        advice = "set paywall.payment_link_id to its id (plink_…), as Stripe shows it"
        yield Finding("paywall", "warn", "purchases cannot be told from others: the link has no id here", advice)
    elif paywall.test:
        yield Finding(
            "paywall", "note", "purchases of Stripe's test mode open it, too", "take paywall.test away to sell"
        )
    else:
        yield Finding("paywall", "ok", "purchases by the payment link open it")


def data_findings(data: Path, uid: int) -> Iterator[Finding]:
    """The data directory: ours, private, writable."""
    if not data.exists():
        yield Finding("data", "note", f"{data} does not exist yet", "`farebox serve` makes it")
        return
    status = data.stat()
    if status.st_uid != uid:
        yield Finding("data", "broken", f"{data} belongs to user {status.st_uid}", f"chown -R {uid} {data}")
    elif not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("data", "broken", f"{data} cannot be written", f"chmod 700 {data}")
    elif exposed := _exposed(data):
        names = ", ".join(path.name or str(path) for path in exposed[:3])
        paths = " ".join(str(path) for path in exposed[:3])
        yield Finding("data", "warn", f"others can read {names}", f"chmod go= {paths}")
    else:
        yield Finding("data", "ok", f"{data} is readable by its owner only")


def _exposed(data: Path) -> list[Path]:
    """The directory itself where others may enter it; what lies inside is then open by its own mode."""
    if not data.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return []
    inside = [path for path in sorted(data.iterdir()) if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    return inside or [data]


def disk_findings(data: Path, segment_bytes: int) -> Iterator[Finding]:
    """Room on the disk that holds the data."""
    nearest = next(path for path in (data, *data.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    text = f"{figures.size(free)} free"
    if free < SEGMENTS_FREE_MIN * segment_bytes:
        yield Finding("disk", "broken", text, "free space now: the journal needs room, or calls stop (journal.full)")
    elif free < DISK_WARN_BYTES:
        yield Finding("disk", "warn", text, "free space, or set ledger.events_keep_days")
    else:
        yield Finding("disk", "ok", text)


def key_findings(path: Path, has_variable: bool) -> Iterator[Finding]:
    """The master key: there, and nobody else's to read. `has_variable`: FAREBOX_MASTER_KEY is set."""
    if has_variable:
        yield Finding("master key", "ok", "from FAREBOX_MASTER_KEY")
    elif not path.exists():
        yield Finding(
            "master key", "note", f"{path} does not exist yet", "it is made when it is first needed; back it up"
        )
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("master key", "broken", f"{path} can be read by others", f"chmod 600 {path}")
    else:
        yield Finding("master key", "ok", f"{path}, readable by its owner only")


def stats_findings(stats: Row | None, has_server: bool) -> Iterator[Finding]:
    """The keeper, and how far behind the ledger is. `stats` is None where nothing answers."""
    if stats is None:
        if has_server:
            advice = "look at the log of `farebox serve`; calls go on and are journalled meanwhile"
            yield Finding("keeper", "broken", "the server runs, but its keeper does not answer", advice)
        else:
            yield Finding("keeper", "note", "no server runs on this data", "`farebox serve` starts one")
        return
    lag_s = float(str(stats.get("lag_s") or 0))
    text = f"{figures.count(_whole(stats.get('events')))} events, {lag_s:.1f} s behind"
    if lag_s > LAG_WARN_S:
        yield Finding(
            "keeper", "warn", text, "the ledger catches up by itself; if it does not, look at the keeper's log"
        )
    else:
        yield Finding("keeper", "ok", text)


def worker_findings(counters: Mapping[str, Mapping[str, int]], has_server: bool) -> Iterator[Finding]:
    """What the workers' counters tell of trouble."""
    if not has_server:
        return
    total = {name: sum(worker.get(name, 0) for worker in counters.values()) for name in ("calls", "unjournaled")}
    text = f"{len(counters)} with counters, {figures.count(total['calls'])} calls"
    if not counters:
        yield Finding("workers", "warn", "no worker has left counters", "restart `farebox serve` if it takes no calls")
    elif total["unjournaled"]:
        lost = figures.count(total["unjournaled"])
        yield Finding("workers", "warn", f"{lost} calls passed without a record: the disk was full", "free space")
    else:
        yield Finding("workers", "ok", text)


def unpriced_findings(rows: Sequence[Row]) -> Iterator[Finding]:
    """Models that were called and have no price."""
    if not rows:
        yield Finding("prices", "ok", "every call in the ledger has a price")
        return
    names = ", ".join(f"{row.get('provider')}/{row.get('model')}" for row in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    advice = "`farebox prices set` gives them one, `farebox prices reprice` then prices the past"
    yield Finding("prices", "warn", f"no price for {names}{more}", advice)


def reach(provider: ProviderView) -> list[Finding]:
    """Connect (TCP, TLS) to a provider and read one answer, without any credential. Blocking, REACH_TIMEOUT_S at most
    a step. Any answer counts as reachable."""
    name = f"provider {provider.name}"
    started_s, now_s = time.monotonic(), time.time()
    try:
        verify = httpx.create_ssl_context(verify=provider.ca_file or provider.verify)
        with httpx.Client(verify=verify, timeout=REACH_TIMEOUT_S) as client:
            answer = client.get(provider.base_url + "/")
    except (httpx.HTTPError, OSError, ValueError) as error:
        advice = "check the network, HTTPS_PROXY, the base URL and its certificates (ca_file)"
        return [Finding(name, "broken", f"{provider.base_url}: {str(error) or type(error).__name__}", advice)]
    took_ms = (time.monotonic() - started_s) * 1000
    found = [Finding(name, "ok", f"{provider.base_url} answers ({figures.duration(took_ms)})")]
    skew_s = skew(answer.headers.get("date"), now_s, took_ms / 1000)
    return found if skew_s is None else [*found, *clock_findings(provider.name, skew_s)]


def skew(date_header: str | None, sent_at_s: float, took_s: float) -> float | None:
    """How far our clock is ahead of a server's, in seconds, as well as one `Date` (whole seconds) can say."""
    try:
        moment = parsedate_to_datetime(date_header or "")
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return sent_at_s + took_s / 2 - (aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() - 0.5


def clock_findings(server: str, skew_s: float) -> Iterator[Finding]:
    """Our clock against one server's. Prices and limits go by the clock."""
    text = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} {server}"
    if abs(skew_s) >= SKEW_BROKEN_S:
        yield Finding("clock", "broken", text, "set the clock (chronyc makestep, or timedatectl set-ntp true)")
    elif abs(skew_s) >= SKEW_WARN_S:
        yield Finding("clock", "warn", text, "keep it by NTP (timedatectl set-ntp true)")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None

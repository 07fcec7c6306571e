"""Results as people read them: plain tables on the terminal, sections of docs/performance.md, JSON beside both."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"

SLOWEST = 8
"""Pages that the table names."""
Row = tuple[str, str, str]
"""What was measured, the figure, and what was asked of it (with whether it was reached)."""


def save(results: Mapping[str, Any], name: str) -> Path:
    """Writes one run's figures, whole, to bench/results."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / name
    target.write_text(json.dumps(results, indent=2) + "\n")
    return target


def write_section(section: str, text: str) -> None:
    """Replaces what stands between `<!-- section -->` and `<!-- /section -->` in docs/performance.md."""
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    page = PAGE.read_text()
    head, _, rest = page.partition(begin)
    _, found, foot = rest.partition(end)
    if not found:
        raise ValueError(f"docs/performance.md has no section {section}")
    PAGE.write_text(f"{head}{begin}\n{text.strip()}\n{end}{foot}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up, so that it reads on a terminal too."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(cells, widths) for cells in (head, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def provenance(machine: Mapping[str, str], command: str) -> str:
    """When, where and by which command, in one line."""
    parts = [f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}", machine["kernel"]]
    if machine["idling"]:
        parts.append(f"under load {machine['idling']}")
    return f"`{command}`, {time.strftime('%Y-%m-%d')}: {', '.join(parts)}, Python {machine['python']}."


def print_bench(results: Mapping[str, Any]) -> str:
    """One table of everything that `make bench` measured in this run."""
    rows: list[Row] = []
    for name, rows_of in _SECTIONS.items():
        figures = results["benches"].get(name)
        if figures is not None:
            rows += (
                [(name, str(figures["failed"]), "could not be measured")] if "failed" in figures else rows_of(figures)
            )
    return f"{provenance(results['machine'], 'make bench')}\n\n{table(('measured', 'figure', 'asked for'), rows)}\n"


def print_peers(results: Mapping[str, Any]) -> str:
    """The peers' table; who could not be run is in it, with the reason."""
    scale = next(row["calls_per_s"] for row in results["rows"] if row["name"] == "nginx")
    head = ("gateway", "version", "calls/s", "of nginx", "added p50", "added p99", "memory", "does on each call")
    rows = [_peer_cells(row, scale) for row in results["rows"]]
    notes = [f"* {row['name']}: {note}." for row in results["rows"] for note in row.get("notes", ())]
    text = f"{provenance(results['machine'], 'make bench-peers')}\n\n{table(head, rows)}\n"
    return text + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _peer_cells(row: Mapping[str, Any], scale: float) -> tuple[str, ...]:
    if "failed" in row:
        return (row["name"], row["version"], "not run", "", "", "", "", " ".join(row["failed"].split())[:300])
    failures = f" ({row['failures']} failed)" if row["failures"] else ""
    return (
        row["name"],
        row["version"],
        f"{row['calls_per_s']:,.0f}{failures}",
        f"{row['calls_per_s'] / scale:.3f}",
        _time(row["added_p50_us"]),
        _time(row["added_p99_us"]),
        _size(row["rss_bytes"]),
        row["does"],
    )


def _throughput(figures: Mapping[str, Any]) -> list[Row]:
    nginx, mine, shared = figures["nginx"], figures["farebox"], figures["farebox, all processes"]
    failures = nginx["failures"] + mine["failures"] + shared["failures"]
    verdict = _verdict(figures["met"]) if figures["fair"] else "NOT FAIR: the core was not kept busy"
    asked = f"at least {figures['ratio_at_least']:.2f} ({verdict}), aim {figures['ratio_aimed_at']:.2f}"
    return [
        (f"small calls, nginx {nginx['version']} proxy_pass", _load(nginx), ""),
        ("small calls, Farebox: the worker on the core", _load(mine), ""),
        ("Farebox / nginx", f"{figures['ratio']:.3f}", asked),
        ("the same for each second of processor time", f"{figures['ratio_per_cpu_s']:.3f}", ""),
        ("small calls, Farebox: worker, keeper, web, supervisor on the core", _load(shared), ""),
        ("that / nginx", f"{figures['ratio_all_processes']:.3f}", ""),
        ("calls that failed", str(failures), "0"),
        ("calls answered, and what the ledger holds with exact cost", _books(figures["books"]), "every call"),
    ]


def _books(books: Mapping[str, Any]) -> str:
    states = ", ".join(f"{row['calls']:,} {row['state']}" for row in books["by_state"])
    return f"{books['answered']:,} answered; {states} ({'right' if books['right'] else 'WRONG'})"


def _load(figures: Mapping[str, Any]) -> str:
    return f"{figures['calls_per_s']:,.0f} calls/s (core {figures['subject_cpu']:.0%} busy)"


def _latency(figures: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for share, asked in (("p50", figures["added_p50_us_max"]), ("p99", figures["added_p99_us_max"])):
        one, own = (_added(figures[arrangement], share) for arrangement in ("one_core", "own_core"))
        value = figures["one_core"]["farebox"][f"added_{share}_us"]
        rows.append((f"added latency, {share}, client, gateway, upstream on one core", one, _below(value, asked, "µs")))
        rows.append((f"added latency, {share}, gateway on a core that sleeps between calls", own, ""))
    return rows


def _added(figures: Mapping[str, Any], share: str) -> str:
    mine, beside = figures["farebox"][f"added_{share}_us"], figures["nginx"][f"added_{share}_us"]
    return f"{mine:.0f} µs (nginx adds {beside:.0f})"


def _streaming(figures: Mapping[str, Any]) -> list[Row]:
    limit = figures["rss_bytes_max"]
    return _streams("streams", figures["plain"], limit) + _streams("streams, TLS to provider", figures["tls"], limit)


def _streams(label: str, figures: Mapping[str, Any], limit: int) -> list[Row]:
    rates, first, slow = figures["chunks_per_s"], figures["first_byte"], figures["slow"]
    nginx = f"nginx {rates['nginx']['chunks_per_s']:,.0f}"
    per_cpu_s = rates["farebox"]["chunks_per_s"] / rates["farebox"]["subject_cpu"]
    rate = (
        f"{rates['farebox']['chunks_per_s']:,.0f} chunks/s (core {rates['farebox']['subject_cpu']:.0%} busy; {nginx})"
    )
    added = f"{first['farebox']['added_p50_us']:.0f} µs p50, {first['farebox']['added_p99_us']:.0f} µs p99"
    beside = f"(nginx {first['nginx']['added_p50_us']:.0f}, {first['nginx']['added_p99_us']:.0f})"
    memory = f"{_size(slow['rss_bytes'])} ({slow['bytes_a_stream'] / 1024:.0f} KiB a stream, {slow['broken']} broken)"
    met = slow["rss_bytes"] < limit and not slow["broken"]
    return [
        (f"{label}: rate", rate, ""),
        (f"{label}: the same for each second of processor time", f"{per_cpu_s:,.0f} chunks", ""),
        (f"{label}: added time to first byte", f"{added} {beside}", ""),
        (f"{label}: {slow['streams']:,} slow ones in one worker", memory, f"under {_size(limit)} ({_verdict(met)})"),
    ]


def _soak(figures: Mapping[str, Any]) -> list[Row]:
    change = f"{_size(figures['rss_bytes_start'])} → {_size(figures['rss_bytes_end'])}"
    slope = f"{figures['slope_bytes_a_call']:.2f} bytes a call"
    return [
        (f"worker's memory over {figures['calls']:,} calls", f"{change}, {slope}", f"flat ({_verdict(figures['met'])})")
    ]


def _ledger(figures: Mapping[str, Any]) -> list[Row]:
    return [(str(row[0]), str(row[1]), str(row[2])) for row in figures["rows"]]


def _limits(figures: Mapping[str, Any]) -> list[Row]:
    verdict = _verdict(figures["met"]) if figures["fair"] else "NOT FAIR: the core was not kept busy"
    return [
        ("small calls without limits", _load(figures["without"]), ""),
        ("small calls, each in three accounts", _load(figures["with"]), ""),
        ("that / without", f"{figures['share']:.3f}", f"at least {figures['share_at_least']:.2f} ({verdict})"),
    ]


def _routes(figures: Mapping[str, Any]) -> list[Row]:
    verdict = _verdict(figures["met"]) if figures["fair"] else "NOT FAIR: the core was not kept busy"
    return [
        ("small calls by model", _load(figures["by model"]), ""),
        ("small calls by route, none of which fails", _load(figures["by route"]), ""),
        ("that / by model", f"{figures['share']:.3f}", f"at least {figures['share_at_least']:.2f} ({verdict})"),
    ]


def _gate(figures: Mapping[str, Any]) -> list[Row]:
    cost, most_us = f"{figures['p50_us']:.1f} µs p50, {figures['p99_us']:.1f} µs p99", figures["p50_us_max"]
    taken, most, accounts = figures["bytes"], figures["bytes_max"], figures["accounts"]
    memory = f"{_size(taken)} ({taken / accounts:.0f} bytes each)"
    asked = f"under {_size(most)} ({_verdict(taken < most)})"
    return [
        ("the gate alone, for a call in five accounts", cost, _below(figures["p50_us"], most_us, "µs p50")),
        (f"keeper's memory for {accounts:,} live accounts", memory, asked),
    ]


def _overshoot(figures: Mapping[str, Any]) -> list[Row]:
    """One row for each way and limit: the worst over workers and streams."""
    rows: list[Row] = []
    groups = dict.fromkeys((row["strict"], row["calls"]) for row in figures["cases"])
    for strict, calls in groups:
        cases = [row for row in figures["cases"] if (row["strict"], row["calls"]) == (strict, calls)]
        worst, least = max(row["overshoot"] for row in cases), min(row["usable"] for row in cases)
        streams = f"{min(row['streams'] for row in cases)} to {max(row['streams'] for row in cases)} streams"
        label = f"{'strict' if strict else 'default'} limit worth {calls:,} calls, {streams}"
        asked = "no overshoot, 99 % usable" if strict else f"under {cases[0]['most']:.1%}, 99.5 % usable"
        met = _verdict(all(row["met"] for row in cases))
        rows.append((label, f"passed by {worst:.2%} at most, {least:.1%} usable at least", f"{asked} ({met})"))
    return rows


def _pages(figures: Mapping[str, Any]) -> list[Row]:
    """The pages that took longest, and how many are within the bound."""
    pages, most, calls = figures["pages"], figures["p95_ms_max"], figures["calls"]
    slowest = sorted(pages, key=lambda page: -pages[page]["p95_ms"])
    within = len(pages) - len(figures["slow"])
    of = f"{figures['events']:,} events, {figures['tenants']:,} customers, {figures['users']:,} users"
    asked = f"each under {most:.0f} ms at p95 ({_verdict(not figures['slow'])})"
    beside = f"{_time(calls['beside']['p99_us'])} p99 (alone {_time(calls['alone']['p99_us'])})"
    bound = f"under {figures['p99_times_max']:.0f} times ({_verdict(calls['times'] < figures['p99_times_max'])})"
    return [
        (f"dashboard pages of {of}", f"{within} of {len(pages)} within the bound", asked),
        *(
            (f"{page}, p95", f"{pages[page]['p95_ms']:.0f} ms (median {pages[page]['p50_ms']:.0f})", "")
            for page in slowest[:SLOWEST]
        ),
        (f"a call while {calls['pages']:,} pages are asked for", beside, bound),
    ]


def _sdk(figures: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for kind, found in figures["app"].items():
        bound = _below(found["overhead_us"], figures["overhead_us_max"], "µs p50")
        rows.append((f"SDK, {kind} call: added beside asking", _time(found["overhead_us"]), bound))
        rows.append((f"SDK, {kind} call: of that, beside a plain call that waited as long", _time(found["own_us"]), ""))
        rows.append((f"SDK, {kind} call: asking", _time(found["asking_us"]), ""))
    rows.append(("the same question on a bare socket", _time(figures["app"]["sync"]["bare_us"]), ""))
    first, *others = figures["import_ms"].items()
    rows.append((f"`{first[0]}`", f"{first[1]:.0f} ms", _below(first[1], figures["import_ms_max"], "ms")))
    return [*rows, *((f"`{code}`", f"{took:.0f} ms", "") for code, took in others)]


_SECTIONS = {
    "throughput": _throughput,
    "latency": _latency,
    "streaming": _streaming,
    "soak": _soak,
    "ledger": _ledger,
    "limits": _limits,
    "routes": _routes,
    "gate": _gate,
    "overshoot": _overshoot,
    "pages": _pages,
    "sdk": _sdk,
}


def _below(value: float, bound: float, unit: str) -> str:
    return f"under {bound:.0f} {unit} ({_verdict(value < bound)})"


def _verdict(met: bool) -> str:
    return "reached" if met else "MISSED"


def _time(us: float) -> str:
    return f"{us:,.0f} µs" if abs(us) < 10_000 else f"{us / 1000:,.0f} ms"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"

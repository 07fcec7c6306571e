"""Charts: the same picture each time, figures as everywhere, strangers' names as plain data."""

import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from farebox.core import figures
from farebox.reports import charts
from farebox.reports.cells import LABEL_MAX, label
from farebox.reports.drawing import HEIGHT, LABEL_GAP_PX, drawing
from farebox.reports.palette import OTHER, SERIES, THEMES, TOKENS
from farebox.reports.report import Chart

NASTY = ["</script><script>alert(1)</script>", "\u202eevil\u2066", "אבג", "w" * 256, "a\"b'c&", "x\u2028y", "", "{{a}}"]
KINDS = ("bars", "columns", "lines", "area", "strip", "waterfall")


def daily(names=("free", "pro"), days: int = 5, **more) -> Chart:
    rows = [
        {"day": f"2026-11-{day:02d}", "tier": name, "spend": Decimal(day * (at + 1)) / 4}
        for day in range(1, days + 1)
        for at, name in enumerate(names)
    ]
    return Chart("Spend by tier", more.pop("kind", "columns"), rows, "day", "spend", "USD a day", "tier", **more)


def names_in(spec) -> set[str]:
    return {str(cell) for rows in spec["datasets"].values() for row in rows for cell in row.values()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", THEMES)
def test_a_chart_is_drawn_the_same_each_time(kind, theme):
    chart = daily(kind=kind)
    first = json.dumps(charts.spec(chart, theme), sort_keys=True)
    assert first == json.dumps(charts.spec(chart, theme), sort_keys=True)
    assert TOKENS[theme]["ground"] in first and "url" not in json.loads(first)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_known_makes_an_empty_picture(kind):
    for rows in ([], [{"day": "2026-11-01", "tier": None, "spend": None}]):
        chart = Chart("Nothing", kind, rows, "day", "spend", series="tier")
        assert charts.svg(chart, width=300).startswith("<svg")
        assert "No values." in charts.fragment(chart)


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_names_are_cut_and_stay_text(kind):
    rows = [{"name": name, "usd": Decimal(at + 1), "of": name} for at, name in enumerate(NASTY)]
    chart = Chart(NASTY[0], kind, rows, "name", "usd", series="of", marks=[{"x": NASTY[2], "y": 1, "text": NASTY[0]}])
    fragment = charts.fragment(chart)
    tags = Tags()
    tags.feed(fragment)
    assert tags.seen.count("script") == 1 and not {"img", "iframe", "style"} & set(tags.seen)
    assert all(len(line) <= LABEL_MAX + 20 for name in names_in(tags.spec()) for line in name.split("\n")[1:2])
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", fragment)
    assert "alert" not in charts.svg(chart, width=300).replace("&lt;script&gt;alert", "")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.data = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        if self.seen[-1] == "script" and not self.data:
            self.data = data

    def spec(self):
        return json.loads(self.data)


def test_names_that_become_the_same_when_cut_stay_apart():
    rows = [{"name": f"{'w' * 100}{end}", "usd": 1} for end in "ab"] + [{"name": None, "usd": 1}]
    drawn = drawing(Chart("T", "bars", rows, "name", "usd"))
    assert len(set(drawn.xs)) == 3 and drawn.xs[2] == "(none)" and drawn.xs[1].endswith("(2)")
    assert label("a\nb\t\u202ec") == "a b c" and len(label("w" * 999)) == LABEL_MAX


def test_who_has_no_name_is_not_who_is_called_none():
    rows = [{"name": None, "usd": 1}, {"name": "None", "usd": 2}]
    points = drawing(Chart("T", "bars", rows, "name", "usd")).points
    assert [(point.x, point.value) for point in points] == [("(none)", 1), ("None", 2)]


def test_six_series_and_the_rest_as_other_in_grey():
    drawn = drawing(daily([f"tier{number}" for number in range(9)]))
    assert drawn.names == ["tier8", "tier7", "tier6", "tier5", "tier4", "tier3", "other (3)"]
    assert drawn.colours == [*SERIES, OTHER]
    first = [point for point in drawn.points if point.x == "1 Nov"]
    assert first[-1].value == Decimal(1 + 2 + 3) / 4
    assert drawing(daily(["a"])).colours == [SERIES[0]]


def test_columns_stand_on_zero_and_on_each_other_losses_hang_below():
    rows = [{"m": "2026-11", "s": name, "v": Decimal(value)} for name, value in (("a", 5), ("b", 3), ("c", -4))]
    drawn = drawing(Chart("T", "columns", rows, "m", "v", series="s"))
    assert {(point.name, point.low, point.high) for point in drawn.points} == {("a", 0, 5), ("b", 5, 8), ("c", 0, -4)}
    assert (drawn.low, drawn.high) == (-4, 8)
    assert drawing(daily()).low == 0


def test_the_tooltip_of_a_day_has_every_value_as_figures_write_them():
    drawn = drawing(
        daily(["free", "pro"], partial_from="2026-11-05", marks=[{"x": "2026-11-02", "y": 2, "text": "why"}])
    )
    assert drawn.tips["1 Nov"] == "1 Nov 2026\nfree\t$0.2500\npro\t$0.5000\ntotal\t$0.7500"
    assert drawn.tips["2 Nov"].endswith("why") and drawn.tips["5 Nov"].startswith("5 Nov 2026, so far")
    exact = Chart("T", "bars", [{"n": "a", "v": Decimal("12480.37")}], "n", "v")
    assert drawing(exact).tips["a"] == f"a\nvalue\t{figures.money(Decimal('12480.37'))}"
    unknown = Chart("T", "columns", [{"n": "2026-11", "v": None}], "n", "v")
    assert drawing(unknown).tips["Nov 2026"].endswith("–")


def test_what_is_partial_is_lighter_and_what_is_projected_dotted():
    chart = daily(partial_from="2026-11-05")
    chart.rows.append({"day": "2026-11-06", "tier": "pro", "spend": Decimal(9), "projected": True})
    spec = charts.spec(chart, "light")
    opacities = {row["x"]: row["o"] for rows in spec["datasets"].values() for row in rows if "o" in row}
    assert opacities["5 Nov"] < opacities["4 Nov"] == 1
    assert any("strokeDash" in layer["mark"] for layer in spec["layer"])
    assert "pro, projected\t$9.00" in drawing(chart).tips["6 Nov"]


def test_days_and_months_without_values_keep_their_place():
    rows = [{"d": day, "v": 1} for day in ("2026-10-30", "2026-11-02")]
    assert drawing(Chart("T", "columns", rows, "d", "v")).xs == ["30 Oct", "31 Oct", "1 Nov", "2 Nov"]
    rows = [{"d": month, "v": 1} for month in ("2026-01", "2025-11")]
    assert drawing(Chart("T", "lines", rows, "d", "v")).xs == ["Nov 2025", "Dec 2025", "Jan 2026"]
    rows = [{"d": moment, "v": 1} for moment in ("2026-11-02T10:00:00Z", "2026-11-02T12:00:00Z")]
    assert drawing(Chart("T", "lines", rows, "d", "v")).xs == ["2 Nov 10:00", "2 Nov 12:00"]


def test_the_same_day_of_two_years_is_two_days():
    rows = [{"d": day, "v": 1} for day in ("2026-11-03", "2025-11-03")]
    xs = drawing(Chart("T", "lines", rows, "d", "v")).xs
    assert (xs[0], xs[-1], len(xs)) == ("3 Nov 2025", "3 Nov 2026", 366)


def test_direct_labels_do_not_cover_each_other():
    rows = [{"d": "2026-11-01", "s": f"s{number}", "v": Decimal(1)} for number in range(6)]
    drawn = drawing(Chart("T", "lines", rows, "d", "v", series="s"))
    ys = sorted(found.y for found in drawn.labels)
    gap = LABEL_GAP_PX * (drawn.high - drawn.low) / HEIGHT
    assert len(ys) == 6 and all(b - a > gap * 0.999 for a, b in pairwise(ys)) and ys[-1] <= drawn.high


def test_a_waterfall_steps_from_revenue_to_what_is_left():
    steps = [("Revenue", 10, True), ("AI", -4, False), ("Other", -1, False), ("Left", 5, True)]
    rows = [{"s": name, "v": Decimal(value), "total": total} for name, value, total in steps]
    points = drawing(Chart("T", "waterfall", rows, "s", "v")).points
    assert [(point.low, point.high) for point in points] == [(0, 10), (10, 6), (6, 5), (0, 5)]


@pytest.mark.parametrize(
    ("unit", "top", "written"),
    [("usd", "1200", "$1,200"), ("usd", "0.0004", "$0.0004"), ("percent", "80", "80 %"), ("count", "20000000", "20M")],
)
def test_axes_are_written_like_figures(unit, top, written):
    chart = Chart("T", "columns", [{"d": "2026-11-01", "v": Decimal(top)}], "d", "v", unit=unit)
    assert f">{written}<" in charts.svg(chart)


def test_pictures_come_as_svg_and_png_with_their_title():
    assert ">Spend by tier<" in charts.svg(daily())
    assert charts.png(daily(), "dark", width=200, scale=1).startswith(b"\x89PNG\r\n")


def test_a_fragment_says_in_words_and_in_a_table_what_it_shows():
    fragment = charts.fragment(daily(["a<b"], days=2))
    assert 'aria-label="Spend by tier. 1 Nov to 2 Nov; the most is $0.5000 (2 Nov)."' in fragment
    assert "<th scope=row>1 Nov</th><td>$0.2500</td>" in fragment and "a&lt;b" in fragment


def test_assets_are_whole_and_need_nothing_from_elsewhere():
    found = charts.assets()
    assert list(found) == ["charts.css", "vega.js", "charts.js"]
    script = found["charts.js"].content.decode()
    assert TOKENS["dark"]["ground"] in script and "CONFIG */" not in script
    assert "innerHTML" not in script and "eval(" not in script
    assert found["vega.js"].content_type.startswith("text/javascript") and len(found["vega.js"].content) > 500_000
    assert found is charts.assets()


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out_from_the_ground(theme):
    tokens = TOKENS[theme]
    for name in ("text", "second", "accent", "loss", "warn", "good"):
        assert contrast(tokens[name], tokens["ground"]) >= 4.5, name
    assert contrast(OTHER, tokens["ground"]) >= 3

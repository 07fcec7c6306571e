"""Colours, type and sizes of charts: the same on pages, in mail and in Slack."""

from typing import Any, Final, Literal

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")

TOKENS: Final[dict[Theme, dict[str, str]]] = {
    "light": {
        "ground": "#ffffff", "raised": "#f7f7f5", "line": "#e4e4e0", "text": "#1c1c1a", "second": "#63635e",
        "accent": "#1f6f5c", "loss": "#b3261e", "warn": "#9a6700", "good": "#1a7f37",
    },
    "dark": {
        "ground": "#131413", "raised": "#1b1d1b", "line": "#2e312e", "text": "#ececE6", "second": "#a0a39c",
        "accent": "#58b89c", "loss": "#ff8a80", "warn": "#e3b341", "good": "#56d364",
    },
}  # fmt: skip
SERIES: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's, told apart by colour-blind eyes; in this order."""
OTHER: Final = "#8a8a84"
"""The seventh series and all after it, on either ground."""
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def config(theme: Theme) -> dict[str, Any]:
    """What Vega takes as `config`: all that differs between the themes is in here."""
    tokens = TOKENS[theme]
    axis = {
        "domain": False, "ticks": False, "gridColor": tokens["line"], "gridWidth": 1, "labelColor": tokens["second"],
        "labelFont": FONT, "labelFontSize": 12, "labelPadding": 8, "titleColor": tokens["second"], "titleFont": FONT,
        "titleFontSize": 12, "titleFontWeight": 400, "titlePadding": 8,
    }  # fmt: skip
    return {
        "background": tokens["ground"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "legend": {"labelColor": tokens["second"], "labelFont": FONT, "labelFontSize": 12, "symbolType": "square"},
        "title": {
            "color": tokens["text"], "font": FONT, "fontSize": 16, "fontWeight": 600, "anchor": "start", "offset": 12,
        },
        "style": {
            "one": {"color": tokens["accent"]},
            "loss": {"color": tokens["loss"]},
            "spike": {"color": tokens["warn"]},
            "hover": {"color": tokens["text"]},
            "label": {"color": tokens["text"], "font": FONT, "fontSize": 12, "align": "left", "baseline": "middle"},
            "zero": {"color": tokens["second"]},
        },
    }  # fmt: skip

"""What a route costs where nothing fails: the same calls at the same server, by model and by route, on one core.

The route is named by a header, and its first target has the model that the body names."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench import nginx
from bench.machine import Cores
from bench.payloads import CALL_PATH, MODEL
from bench.subjects import farebox
from bench.throughput import BUSY_AT_LEAST, alternate

SHARE_AT_LEAST = 0.98
TARGETS: Final = f"openai/{MODEL},groq/llama-3.3-70b-versatile"


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Medians of the rounds, by model and by route, and what share of the calls is left."""
    directory.mkdir(parents=True, exist_ok=True)
    rounds, seconds = (2, 2.0) if quick else (9, 5.0)
    with nginx.static_upstream(directory / "upstream", cores.rest) as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        settings = {
            "FAREBOX_ROUTES_SMART_TARGETS": TARGETS,
            "FAREBOX_PROVIDERS_GROQ_BASE_URL": url,
            "GROQ_API_KEY": "gsk-of-the-bench",
        }
        with farebox(directory / "routed", cores, url, settings=settings) as found:
            direct = replace(found, name="by model", path=CALL_PATH)
            routed = replace(direct, name="by route", headers={**found.headers, "x-farebox-route": "smart"})
            figures = alternate(directory, cores, [direct, routed], rounds, seconds)
    share = figures["by route"]["calls_per_s"] / figures["by model"]["calls_per_s"]
    failures = figures["by route"]["failures"] + figures["by model"]["failures"]
    fair = min(each["subject_cpu"] for each in figures.values()) >= BUSY_AT_LEAST
    return {
        **figures,
        "share": share,
        "share_at_least": SHARE_AT_LEAST,
        "fair": fair,
        "met": fair and share >= SHARE_AT_LEAST and not failures,
    }

"""Compile the price table that ships: the pinned genai-prices data and the overlay files beside the table.

Run by `make prices`. The result is a pure function of its two inputs; a test compares it with what is checked in.
"""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from genai_prices import data

from farebox.core.price_rows import PriceRow
from farebox.providers.sheets import TABLE, Header
from tools.genai_rows import FALLBACKS, IDS, ours, rows_of
from tools.overlay import Overlay

OVERLAY = TABLE.parent / "overlay"


def compile_table() -> bytes:
    """The table as bytes: one JSON line of header, then one a row, in the order in which entries are asked."""
    overlay = Overlay.load(OVERLAY)
    base = [
        row
        for provider in sorted(data.providers, key=lambda provider: ours(provider.id))
        for model in provider.models
        for row in rows_of(provider, model, source())
    ]
    rows = [*overlay.first_rows(), *overlay.amended(base)]
    body = b"".join(msgspec.json.encode(row) + b"\n" for row in _by_provider(rows))
    header = Header(
        source=source(),
        source_sha256=_sha256(Path(data.__file__).read_bytes()),
        overlay_sha256=overlay.sha256,
        table_sha256=_sha256(body),
        aliases=dict(sorted(IDS.items())),
        fallbacks=FALLBACKS,
        multipliers=overlay.multipliers,
    )
    return msgspec.json.encode(header) + b"\n" + body


def source() -> str:
    return f"genai-prices {importlib.metadata.version('genai-prices')}"


def _by_provider(rows: Iterable[PriceRow]) -> list[PriceRow]:
    return sorted(rows, key=lambda row: row.provider)  # stable: within a provider the order decides who is asked first


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    table = compile_table()
    if TABLE.exists() and TABLE.read_bytes() == table:
        sys.stdout.write(f"{TABLE} is up to date\n")
        return
    TABLE.write_bytes(table)
    sys.stdout.write(f"{TABLE}: {len(table.splitlines()) - 1} rows, {len(table)} bytes\n")


if __name__ == "__main__":
    main()

"""The embedded ledger store. Everything that knows DuckDB, SQL included, is in this package."""

from farebox.ledger.stores.duckdb.store import Store, open_store

__all__ = ["Store", "open_store"]

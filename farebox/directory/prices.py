"""Price rows that were added here. They win over the shipped ones from their date; none is ever changed."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import insert, select

from farebox.directory import schema
from farebox.directory.writing import Database, json
from farebox.errors import AlreadyExists, DirectoryError


class Prices:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[dict[str, Any]], by: str = "shell") -> int:
        """Append rows as `farebox.core.pricing.PriceRow` reads them, all or none; how many there were.

        Raises AlreadyExists for an id that is taken: a price is superseded by a new row with a later date.
        """
        table = schema.price_rows
        ids = [row.get("id") for row in rows]
        if not all(isinstance(price_id, str) and price_id for price_id in ids):
            raise DirectoryError("a price row needs an id")
        with self._database.changing(by) as change:
            taken = change.connection.execute(select(table.c.id).where(table.c.id.in_(ids))).scalars().all()
            if taken or len(set(ids)) < len(ids):
                raise AlreadyExists(
                    f"price row {taken[0] if taken else 'given twice'}: supersede it by a row of its own id"
                )
            for row in rows:
                values = {"id": row["id"], "row": json(row), "created_at_us": change.at_us}
                change.connection.execute(insert(table).values(**values))
                change.log("price.add", row["id"])
        return len(rows)

    def list(self) -> list[dict[str, object]]:
        """In the order they were added."""
        table = schema.price_rows
        with self._database.reading() as connection:
            texts = connection.execute(select(table.c.row).order_by(table.c.seq)).scalars().all()
        return [msgspec.json.decode(text, type=dict[str, object]) for text in texts]

"""Revenue: entries that are only ever added. The same is booked once; a correction is a further entry."""

import msgspec
from sqlalchemy import Connection, insert, select

from farebox.core.customers import Entry
from farebox.core.money import format_usd
from farebox.core.statements import Booking
from farebox.directory import schema
from farebox.directory.vault import new_id
from farebox.directory.writing import Change
from farebox.errors import AlreadyExists, InvalidBooks

EXTERNAL_ID_CHARS_MAX = 256


def to_book(change: Change, tenant: str, booking: Booking) -> Entry | None:
    """The entry that the booking asks for; None where it stands there already. Raises AlreadyExists where its id
    stands for something else."""
    if booking.reverses is not None:
        return _reversal(change, tenant, booking, booking.reverses)
    if booking.is_total:
        return _difference(change, tenant, booking)
    entry = Entry(booking.month, booking.amount, booking.source, booking.external_id or new_id("rev_"), change.at_us)
    if booking.external_id is None:
        return entry
    if not 1 <= len(entry.external_id) <= EXTERNAL_ID_CHARS_MAX or not entry.external_id.isprintable():
        raise InvalidBooks(f"an external id has 1 to {EXTERNAL_ID_CHARS_MAX} printable characters")
    known = _known(change.connection, booking.source, booking.external_id)
    if known is None:
        return entry
    owner, held = known
    if owner != tenant or msgspec.structs.replace(held, booked_at_us=change.at_us) != entry:
        raise AlreadyExists(
            f"{booking.source} entry {entry.external_id[:80]!r} is booked already, {format_usd(held.amount)} for "
            f"{owner} in {held.month}: to correct it, book the difference under an id of its own"
        )
    return None


def book(change: Change, tenant: str, entry: Entry) -> None:
    values = {"tenant": tenant, **msgspec.structs.asdict(entry), "amount": str(entry.amount)}
    change.connection.execute(insert(schema.revenue).values(**values))
    change.log(
        "customer.revenue", tenant, month=entry.month, amount=format_usd(entry.amount), source=entry.source,
        external_id=entry.external_id,
    )  # fmt: skip


def entries_of(connection: Connection, tenant: str | None = None) -> dict[str, tuple[Entry, ...]]:
    """By customer, oldest first; of one or of all."""
    table = schema.revenue
    query = select(table).order_by(table.c.booked_at_us, table.c.seq)
    found: dict[str, list[Entry]] = {}
    for row in connection.execute(query if tenant is None else query.where(table.c.tenant == tenant)):
        entry = Entry(row.month, int(row.amount), row.source, row.external_id, row.booked_at_us)
        found.setdefault(row.tenant, []).append(entry)
    return {name: tuple(entries) for name, entries in found.items()}


def _difference(change: Change, tenant: str, booking: Booking) -> Entry | None:
    table = schema.revenue
    query = select(table.c.amount).where(
        table.c.tenant == tenant, table.c.month == booking.month, table.c.source == booking.source
    )
    booked = [int(amount) for (amount,) in change.connection.execute(query)]
    amount = booking.amount - sum(booked)
    if booked and not amount:
        return None
    external_id = f"{tenant} {booking.month} {len(booked) + 1}"
    return Entry(booking.month, amount, booking.source, external_id, change.at_us)


def _reversal(change: Change, tenant: str, booking: Booking, reverses: str) -> Entry | None:
    held = _known(change.connection, booking.source, reverses)
    external_id = booking.external_id or f"{reverses} reversed"
    if held is None or held[0] != tenant or _known(change.connection, booking.source, external_id) is not None:
        return None
    return Entry(held[1].month, -held[1].amount, booking.source, external_id, change.at_us)


def _known(connection: Connection, source: str, external_id: str) -> tuple[str, Entry] | None:
    table = schema.revenue
    query = select(table).where(table.c.source == source, table.c.external_id == external_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return row.tenant, Entry(row.month, int(row.amount), row.source, row.external_id, row.booked_at_us)

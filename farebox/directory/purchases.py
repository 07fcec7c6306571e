"""Purchases of access, where Farebox is sold: told by Stripe, redeemed once, ended with their subscription."""

from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from farebox.core.paywall import REDEEM_WITHIN_US, Bought, Purchase, Subscribed, follows, opens
from farebox.directory import schema
from farebox.directory.customers import is_first
from farebox.directory.vault import Vault, new_secret
from farebox.directory.writing import Change, Database

ACCESS_PREFIX: Final = "fbw_"
SECRET_CHARS_MAX: Final = 200
SOURCE: Final = "stripe-paywall"


class Purchases:
    """`session` arguments are ids of checkout sessions (`cs_…`)."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def take(self, event_id: str, said: Bought | Subscribed, by: str = "stripe") -> bool:
        """Take what an event says, once for its id; False where it was taken before."""
        with self._database.changing(by) as change:
            if not is_first(change, SOURCE, event_id):
                return False
            if isinstance(said, Bought):
                _take_bought(change, said)
            else:
                _take_subscribed(change, said)
            return True

    def state(self, session: str, at_us: int) -> tuple[Purchase, str]:
        """What a checkout session is worth now, and why it is refused."""
        with self._database.reading() as connection:
            return _state(connection, session, at_us)

    def redeem(self, session: str, at_us: int, by: str = "purchase") -> tuple[str, str] | None:
        """(the secret of the access cookie, the buyer's e-mail), once; None where the session cannot be redeemed."""
        purchases = schema.purchases
        with self._database.changing(by) as change:
            if _state(change.connection, session, at_us)[0] != "open":
                return None
            secret = new_secret(ACCESS_PREFIX)
            row = change.connection.execute(select(purchases).where(purchases.c.session_id == session)).one()
            change.connection.execute(
                update(purchases)
                .where(purchases.c.session_id == session)
                .values(redeemed_at_us=at_us, hash=self._vault.key_hash(secret))
            )
            change.log("purchase.redeem", session, email=row.email)
            return secret, str(row.email)

    def admits(self, secret: str) -> bool:
        """Whether an access cookie opens the installation. The whole secret is hashed and looked up."""
        if not secret.startswith(ACCESS_PREFIX) or len(secret) > SECRET_CHARS_MAX:
            return False
        return self._is_redeemed(schema.purchases.c.hash == self._vault.key_hash(secret))

    def belongs(self, secret: str, session: str) -> bool:
        """Whether an access cookie was made of that checkout session."""
        purchases = schema.purchases
        with self._database.reading() as connection:
            query = select(purchases.c.session_id).where(purchases.c.hash == self._vault.key_hash(secret))
            return connection.execute(query).scalar() == session

    def is_sold(self) -> bool:
        """Whether somebody has bought the installation, and still pays for it."""
        return self._is_redeemed(schema.purchases.c.redeemed_at_us.is_not(None))

    def _is_redeemed(self, condition: Any) -> bool:  # Any: one of SQLAlchemy's conditions
        with self._database.reading() as connection:
            rows = connection.execute(select(schema.purchases).where(condition)).all()
            return any(_is_living(connection, row) for row in rows)


def _take_bought(change: Change, said: Bought) -> None:
    purchases = schema.purchases
    row = change.connection.execute(select(purchases).where(purchases.c.session_id == said.session_id)).one_or_none()
    values = {"subscription": said.subscription, "email": said.email, "problem": said.problem}
    if row is None:
        change.connection.execute(
            insert(purchases).values(session_id=said.session_id, confirmed_at_us=said.at_us, **values)
        )
    elif row.problem and row.redeemed_at_us is None:
        # not paid at first, and then it was
        change.connection.execute(
            update(purchases)
            .where(purchases.c.session_id == said.session_id)
            .values(confirmed_at_us=said.at_us, **values)
        )
    else:
        return
    change.log("purchase.confirm", said.session_id, problem=said.problem)


def _take_subscribed(change: Change, said: Subscribed) -> None:
    table = schema.paid_subscriptions
    before = _subscribed(change.connection, said.id)
    if not follows(before, said):
        return
    values = {"status": said.status, "told_at_us": said.at_us}
    if before is None:
        change.connection.execute(insert(table).values(id=said.id, **values))
    else:
        change.connection.execute(update(table).where(table.c.id == said.id).values(**values))
    change.log("purchase.subscription", said.id, status=said.status)


def _state(connection: Connection, session: str, at_us: int) -> tuple[Purchase, str]:
    purchases = schema.purchases
    row = connection.execute(select(purchases).where(purchases.c.session_id == session)).one_or_none()
    if row is None:
        return "waiting", ""
    if row.problem:
        return "refused", row.problem
    if row.redeemed_at_us is not None:
        return "redeemed", ""
    if not _is_living(connection, row):
        return "refused", "its subscription has ended"
    if at_us - row.confirmed_at_us >= REDEEM_WITHIN_US:
        return "late", ""
    others = connection.execute(select(purchases).where(purchases.c.redeemed_at_us.is_not(None))).all()
    return ("taken", "") if any(_is_living(connection, other) for other in others) else ("open", "")


def _is_living(connection: Connection, row: Row[Any]) -> bool:  # Any: SQLAlchemy's rows of whole tables are untyped
    if row.subscription is None:
        return True
    known = _subscribed(connection, row.subscription)
    return opens(None if known is None else known.status)


def _subscribed(connection: Connection, subscription: str) -> Subscribed | None:
    table = schema.paid_subscriptions
    row = connection.execute(select(table).where(table.c.id == subscription)).one_or_none()
    return None if row is None else Subscribed(row.id, row.status, row.told_at_us)

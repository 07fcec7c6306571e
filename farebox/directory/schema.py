"""The directory's tables. Lists and mappings are JSON text, times microseconds since 1970, so that SQLite and
PostgreSQL read the same. `revision` on a row is the directory's revision at its last change: whoever has seen
revision n needs only the rows above it.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta: Final = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""'revision': counts every change; 'key_check': which master key this directory belongs to."""

keys: Final = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("bind", Text, nullable=False),
    Column("providers", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("routes", Text, nullable=False),
    Column("require", Text, nullable=False),
    Column("trust", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("allow_objects", Boolean, nullable=False, server_default=false()),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Index("ix_keys_revision", "revision"),
    Index("ix_keys_name", "name"),
)

key_hashes: Final = Table(
    "key_hashes",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("key_id", Text, ForeignKey("keys.id"), nullable=False),
    Column("expires_at_us", BigInteger),
    Index("ix_key_hashes_key_id", "key_id"),
)
"""The secrets of a key: one, or during a rotation two. `expires_at_us` is the end of the overlap."""

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
)

providers: Final = Table(
    "providers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("wire", Text, nullable=False),
    Column("credential", LargeBinary),
    Column("credential_hint", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("ca_file", Text, nullable=False),
    Column("tls_verify", Boolean),
    Column("deployments", Text, nullable=False, server_default="{}"),
    Column("region", Text, nullable=False, server_default=""),
    Column("region_class", Text, nullable=False, server_default=""),
    Column("changed_at_us", BigInteger, nullable=False),
)

price_rows: Final = Table(
    "price_rows",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("row", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)
"""Append-only: a price is superseded by a later row, never changed."""

limits: Final = Table(
    "limits",
    metadata,
    Column("id", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Column("removed_at_us", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Index("ix_limits_revision", "revision"),
    Index("ix_limits_place", "place"),
)
"""`spec` is the whole limit as `farebox.core.limits.Limit`; `place` is what no two living ones share."""

channels: Final = Table(
    "channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("to", Text, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Column("disabled_at_us", BigInteger),
    Column("note", Text, nullable=False),
)
"""`sealed`: a channel's address and, of a webhook, its signing secret."""

alert_rules: Final = Table(
    "alert_rules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("channels", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("hourly_max", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)
"""`spec` is the numbers of the kind as `farebox.core.alert_rules` reads them; `channels` their ids."""

plans: Final = Table(
    "plans",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Column("removed_at_us", BigInteger),
)

plan_versions: Final = Table(
    "plan_versions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("plan", Text, ForeignKey("plans.name"), nullable=False),
    Column("from_day", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("entered_at_us", BigInteger, nullable=False),
    Index("ix_plan_versions_plan", "plan"),
)
"""Append-only. `spec` is the whole plan as `farebox.core.customers.Plan`; of one day the later version counts."""

customers: Final = Table(
    "customers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("anchor_day", Integer),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Column("removed_at_us", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Index("ix_customers_revision", "revision"),
)
"""As they stand. `spec` is `farebox.core.book_text.CustomerSpec`; `anchor_day` is in it, too, for the lean reader."""

customer_versions: Final = Table(
    "customer_versions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, ForeignKey("customers.tenant"), nullable=False),
    Column("spec", Text, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("entered_at_us", BigInteger, nullable=False),
    Index("ix_customer_versions_tenant", "tenant"),
)
"""Append-only: as they stood."""

subscriptions: Final = Table(
    "subscriptions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, ForeignKey("customers.tenant"), nullable=False),
    Column("from_day", Text, nullable=False),
    Column("plan", Text, ForeignKey("plans.name")),
    Column("entered_at_us", BigInteger, nullable=False),
    Index("ix_subscriptions_tenant", "tenant"),
)
"""Append-only. No plan: on none from that day on; of one day the later entry counts."""

revenue: Final = Table(
    "revenue",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, ForeignKey("customers.tenant"), nullable=False),
    Column("month", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("booked_at_us", BigInteger, nullable=False),
    UniqueConstraint("source", "external_id"),
    Index("ix_revenue_tenant", "tenant"),
)
"""Append-only. `amount` is a count of pico-dollars as text: it may be larger than what databases count in."""

notices: Final = Table(
    "notices",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("taken_at_us", BigInteger, nullable=False),
)
"""Ids of what billing systems told, each taken once."""

users: Final = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text),
    Column("created_at_us", BigInteger, nullable=False),
    Column("seen_at_us", BigInteger),
)
"""Who may open the dashboard. `name` is in lower case; `password_hash` is Argon2id's, none until one is set."""

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("seen_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Index("ix_sessions_user_id", "user_id"),
)
"""Browsers that are logged in. One that has ended is deleted."""

login_links: Final = Table(
    "login_links",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id")),
    Column("kind", Text, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
)
"""Links that work once. `kind`: first (makes the first admin; no user yet), password (sets a new one), enter (logs in
as that user and asks nothing)."""

portal_tokens: Final = Table(
    "portal_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user", Text),
    Column("origins", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger),
    Index("ix_portal_tokens_tenant", "tenant"),
)
"""Links by which customers see their usage. The token itself is signed and not kept; one that is not here is none."""

purchases: Final = Table(
    "purchases",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("subscription", Text),
    Column("email", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("confirmed_at_us", BigInteger, nullable=False),
    Column("redeemed_at_us", BigInteger),
    Column("hash", LargeBinary, unique=True),
)
"""Checkout sessions that Stripe has told of. `problem` says why one opens nothing; `hash` is the access cookie's."""

paid_subscriptions: Final = Table(
    "paid_subscriptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("told_at_us", BigInteger, nullable=False),
)
"""What Stripe said last of a subscription, by Stripe's clock."""

routes: Final = Table(
    "routes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)
"""Names that stand for several targets. A removed one is deleted."""

audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

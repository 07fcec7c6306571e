"""Makes a directory's tables those of an earlier version."""

import sqlite3
from pathlib import Path

ADDED = {
    "0003": ("limits",),
    "0004": ("channels", "alert_rules"),
    "0005": (
        "notices", "revenue", "subscriptions", "customer_versions", "customers", "plan_versions", "plans",
    ),
    "0006": ("login_links", "sessions", "users"),
    "0007": ("portal_tokens", "purchases", "paid_subscriptions"),
    "0008": ("routes",),
}  # fmt: skip


def go_back_to(path: Path, revision: str) -> None:
    dropped = "".join(
        f"DROP TABLE {name};" for since, names in reversed(ADDED.items()) if since > revision for name in names
    )
    connection = sqlite3.connect(path)
    if revision < "0007":
        dropped += "DELETE FROM meta WHERE name = 'operator';"
    connection.executescript(f"{dropped} UPDATE alembic_version SET version_num = '{revision}'")
    connection.close()

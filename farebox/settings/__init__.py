"""Settings: farebox.toml, `FAREBOX_*` and flags, checked and frozen before anything starts.

`table` says what there is, `loading` reads it, `places` says where on disk the processes meet.
"""

from farebox.settings.loading import (
    Effective,
    check,
    check_provider_name,
    check_region,
    explain,
    find_config,
    listen_address,
    load,
)
from farebox.settings.places import SOCKET_PATH_BYTES_MAX, private_dir, run_dir
from farebox.settings.table import (
    SETTINGS,
    Dashboard,
    Journal,
    Ledger,
    Limits,
    Log,
    Oidc,
    Paywall,
    Portal,
    ProviderSettings,
    Secrets,
    Server,
    Setting,
    Settings,
    UnitSettings,
    Upstream,
    from_json,
    to_json,
)

__all__ = [
    "SETTINGS",
    "SOCKET_PATH_BYTES_MAX",
    "Dashboard",
    "Effective",
    "Journal",
    "Ledger",
    "Limits",
    "Log",
    "Oidc",
    "Paywall",
    "Portal",
    "ProviderSettings",
    "Secrets",
    "Server",
    "Setting",
    "Settings",
    "UnitSettings",
    "Upstream",
    "check",
    "check_provider_name",
    "check_region",
    "explain",
    "find_config",
    "from_json",
    "listen_address",
    "load",
    "private_dir",
    "run_dir",
    "to_json",
]

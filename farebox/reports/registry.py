"""All reports, in the order in which they are listed. A report is one file and one line here."""

from typing import Final

from farebox.core.asking import nearest
from farebox.errors import NotFound
from farebox.reports.anomalies import Anomalies
from farebox.reports.audit import Audit
from farebox.reports.fallbacks import Fallbacks
from farebox.reports.features import Features
from farebox.reports.models import Models
from farebox.reports.near_limits import NearLimits
from farebox.reports.pnl_reports import PNL_REPORTS
from farebox.reports.report import Report
from farebox.reports.tiers import Tiers
from farebox.reports.top_customers import TopCustomers
from farebox.reports.trend import Trend
from farebox.reports.unpriced import Unpriced
from farebox.reports.users import Users
from farebox.reports.waste import Waste
from farebox.reports.workspaces import Workspaces

USAGE_REPORTS: Final[tuple[Report, ...]] = (
    TopCustomers(),
    Users(),
    Tiers(),
    Features(),
    Models(),
    Workspaces(),
    Trend(),
    Fallbacks(),
    Waste(),
    NearLimits(),
    Anomalies(),
    Audit(),
    Unpriced(),
)
REPORTS: Final = (*USAGE_REPORTS, *PNL_REPORTS)


def find(name: str) -> Report:
    """Raises NotFound, with the nearest name."""
    for report in REPORTS:
        if report.name == name:
            return report
    names = [report.name for report in REPORTS]
    raise NotFound(f"there is no report {name[:80]!r}{nearest(name, names)}; there are {', '.join(names)}")

"""The pages, in the order in which the navigation shows them. A page is one file and one line here."""

from typing import Final

from farebox.dashboard.page import Page
from farebox.dashboard.pages.alerts import ALERTS
from farebox.dashboard.pages.audit import AUDIT
from farebox.dashboard.pages.books import BOOKS
from farebox.dashboard.pages.call import CALL
from farebox.dashboard.pages.calls import CALLS
from farebox.dashboard.pages.channels import CHANNELS
from farebox.dashboard.pages.choices import CHOICES
from farebox.dashboard.pages.customer import CUSTOMER
from farebox.dashboard.pages.customers import CUSTOMERS
from farebox.dashboard.pages.features import FEATURES
from farebox.dashboard.pages.find import FIND
from farebox.dashboard.pages.help import HELP
from farebox.dashboard.pages.keys import KEYS
from farebox.dashboard.pages.limits import LIMITS
from farebox.dashboard.pages.models import MODELS
from farebox.dashboard.pages.overview import OVERVIEW
from farebox.dashboard.pages.plans import PLANS
from farebox.dashboard.pages.portal_links import PORTAL_LINKS
from farebox.dashboard.pages.prices import PRICES
from farebox.dashboard.pages.providers import PROVIDERS
from farebox.dashboard.pages.report import REPORT
from farebox.dashboard.pages.reports import REPORTS
from farebox.dashboard.pages.routes import ROUTES
from farebox.dashboard.pages.settings import SETTINGS
from farebox.dashboard.pages.statement import STATEMENT
from farebox.dashboard.pages.tiers import TIERS
from farebox.dashboard.pages.users import USERS

PAGES: Final[tuple[Page, ...]] = (
    OVERVIEW,
    REPORTS,
    STATEMENT,
    REPORT,
    FEATURES,
    MODELS,
    CALLS,
    CALL,
    CUSTOMERS,
    CUSTOMER,
    PORTAL_LINKS,
    USERS,
    BOOKS,
    PLANS,
    TIERS,
    LIMITS,
    ALERTS,
    CHANNELS,
    ROUTES,
    KEYS,
    PROVIDERS,
    PRICES,
    AUDIT,
    SETTINGS,
    HELP,
    FIND,
    CHOICES,
)

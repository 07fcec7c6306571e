"""The reports that set cost against revenue, and those that tell what to do about it."""

from typing import Final

from farebox.reports.customers_pnl import CustomersPnl
from farebox.reports.margin import Margin
from farebox.reports.optimize import Optimize
from farebox.reports.overages import Overages
from farebox.reports.plan_calculator import PlanCalculator
from farebox.reports.report import Report
from farebox.reports.statement import Statement
from farebox.reports.unit_costs import UnitCosts
from farebox.reports.upsell import Upsell
from farebox.reports.weekly import Weekly

PNL_REPORTS: Final[tuple[Report, ...]] = (
    CustomersPnl(),
    Margin(),
    UnitCosts(),
    Overages(),
    Upsell(),
    PlanCalculator(),
    Optimize(),
    Weekly(),
    Statement(),
)

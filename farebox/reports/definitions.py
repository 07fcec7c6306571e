"""Columns that several reports share, each with its definition: said once, the same everywhere. The page
docs/explanation/definitions.md says them at length."""

from typing import Final

from farebox.reports.report import Column

CUSTOMER: Final = Column(
    "tenant", "Customer", hint="Whose calls they were; – where no customer was named.", door="tenant"
)
NAME: Final = Column("name", "Name")
PLAN: Final = Column("plan", "Plan", hint="The plan held on the month's last day, or today.")
MONTH: Final = Column("month", "Month", "month")
CUSTOMERS: Final = Column("customers", "Customers", "count", "Customers that called or pay.")
CALLS: Final = Column("calls", "Calls", "count", "Calls that were not refused, each once however often it was tried.")
AI_COST: Final = Column(
    "ai_cost", "AI cost", "usd", "What providers charge for the calls, without calls on the caller's own provider key."
)
REVENUE: Final = Column(
    "revenue", "Revenue", "usd",
    "What was booked for the month, else the plan's price prorated by day: $0 on a free plan, – where none is known.",
)  # fmt: skip
MARGIN: Final = Column(
    "margin", "Margin", "usd", "Revenue less AI cost, of those customers and months whose revenue and cost are known."
)
MARGIN_PERCENT: Final = Column("margin_percent", "Margin %", "percent", "Margin of revenue; – where revenue is $0.")
AI_SHARE: Final = Column("ai_share", "AI cost of revenue", "percent", "AI cost of revenue, where both are known.")
RECOVERY: Final = Column(
    "recovery_ratio", "Recovery ratio", "ratio", "Revenue over AI cost: below 1, customers ride at a loss."
)
OTHER_COGS: Final = Column(
    "other_cogs", "Other cost", "usd", "What the plans say that serving a customer costs beside AI."
)
GROSS: Final = Column("gross_margin", "Gross margin", "usd", "Margin less other cost.")
GROSS_PERCENT: Final = Column("gross_margin_percent", "Gross margin %", "percent", "Gross margin of revenue.")
MARGINS: Final = (AI_COST, REVENUE, MARGIN, MARGIN_PERCENT, AI_SHARE, RECOVERY, OTHER_COGS, GROSS, GROSS_PERCENT)

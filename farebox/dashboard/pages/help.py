"""Help: what the pages answer, the keys of the keyboard, and what the words mean."""

from typing import Final

from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

COLUMNS: Final = (Column("word", "Word"), Column("meaning", "Means"))
WORDS: Final = (
    ("call", "What your app asked for once. It may take several attempts, each a request to a provider."),
    ("spend", "What calls cost, by the prices that held when they were made."),
    ("estimated", "A cost without the provider's own counts, such as of a call that was interrupted. Marked with ~."),
    ("unpriced", "A call of a model without a price. It is in no sum until a price is added; shown as –, never as $0."),
    ("customer", "The tenant that a call bills; who it is comes from the key, or from the call's headers."),
    ("user", "A user of a customer's. The same name under two customers is two users."),
    ("tier", "The plan or level that a call belongs to."),
    ("limit", "What a subject may use in a window. Only a limit refuses calls; a report never does."),
    ("used, held", "Of a limit: what calls have cost, and what calls still running may cost."),
    ("byok", "A call with the caller's own provider credential: shown, but no cost of yours."),
)


async def show(_visit: Visit) -> View:
    rows = [{"word": word, "meaning": meaning} for word, meaning in WORDS]
    answer = Answer(sentence="What the keyboard does, and what the words mean.", columns=COLUMNS, rows=rows)
    return View("Help", answer, template="help.html", caption="Words")


HELP: Final = Page("/help", "analyst", "Help", show, group="Setup", key="h")

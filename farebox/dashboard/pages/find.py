"""Find: the search field of every page. A call's id leads to the call, a customer's name to the customer."""

import re
from typing import Final
from urllib.parse import urlencode

from farebox.dashboard.filters import segment
from farebox.dashboard.page import Done, Page, Visit

CHARS_MAX: Final = 256
_CALL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def show(visit: Visit) -> Done:
    text = visit.filters.query.get("text", "").strip()[:CHARS_MAX]
    if not text:
        return Done("/customers")
    if _CALL.fullmatch(text):
        return Done(f"/calls/{text}")
    exact = await visit.usage((), ("attempts",), since_us=0, only={"tenant": text})
    if exact and exact[0]["attempts"]:
        return Done(f"/customers/{segment(text)}")
    return Done("/customers?" + urlencode({"period": "90d", "q": text}))


FIND: Final = Page("/find", "analyst", "Find", show)

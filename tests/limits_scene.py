"""A worker, the keeper with the authority on limits, and an upstream whose answers cost CHAT_COST."""

from collections.abc import Callable
from typing import Any

from running_keeper import Keeper
from running_worker import CHAT, Answer, Running, Upstream, answering, response
from scripted import until

from farebox.core.limit_text import read_limit

Start = Callable[..., tuple[Running, Upstream]]
ACME = ("x-tenant-id: acme", "x-user-id: u_1", "x-tier: free")


class Scene:
    def __init__(self, gateway: Start, handler: Any = None, **settings: object) -> None:
        self.worker, self.upstream = gateway(handler or answering(response()), **settings)
        self.keeper = Keeper(self.worker, ticking=True)

    def limit(self, per: str = "user", amount: str = "3 requests", **more: Any) -> str:
        """Set a limit, and wait until it is in force at worker and authority."""
        row = self.worker.directory.limits.set(read_limit({"per": per, "amount": amount, **more}))
        self.in_force()
        return row.id

    def in_force(self) -> None:
        wanted = tuple(row.limit for row in self.worker.directory.limits.list())
        assert until(lambda: self.worker.worker.gate._limits == wanted and self.keeper.authority._book is not None)
        assert until(lambda: tuple(self.keeper.authority.limits.values()) == wanted)

    def call(self, *headers: str, body: bytes = CHAT, path: str = "/proxy/openai/v1/chat/completions") -> Answer:
        return self.worker.post(body, *(headers or ACME), path=path)

    def statuses(self, count: int, *headers: str) -> list[int]:
        return [self.call(*headers).status for _ in range(count)]

    def used(self, limit_id: str, **dimensions: str) -> Any:
        """What is used of a limit, once all that was spent is known to the authority."""
        who = dimensions or {"tenant": "acme", "user": "u_1", "tier": "free"}
        found: list[Any] = []

        def settled() -> bool:
            if self.worker.worker.gate.leases._dirty:
                return False
            entry = next(entry for entry in self.keeper.explain(**who) if entry["limit_id"] == limit_id)
            found[:] = [entry["used"]]
            return entry["held"] in (0, "0.00")

        assert until(settled)
        return found[0]


def farebox(answer: Answer) -> dict[str, Any]:
    return answer.json["farebox"]  # type: ignore[index,no-any-return]

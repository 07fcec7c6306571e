"""`Farebox` and `AsyncFarebox`: what an app works with."""

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from uuid import uuid4

from farebox.client.answers import noting, within, within_async
from farebox.client.context import SCOPE, Context, LimitWarning, OnWarning, Scope, recorded, widened
from farebox.client.door import Door, Permit
from farebox.client.sender import EXIT_S, Sender
from farebox.client.spool import Spool, usual_place
from farebox.core.events import Tag
from farebox.errors import FareboxError

if TYPE_CHECKING:
    from farebox.client.calls import Call

URL: Final = "http://localhost:3273"
FLUSH_S: Final = 10.0
C = TypeVar("C")
_log = logging.getLogger("farebox.client")


class Farebox:
    """A connection to Farebox: asks before calls, meters them, and sends what they used.

    `base_url` and `key` from FAREBOX_URL and FAREBOX_KEY unless given. `fail_open`: whether calls go on while Farebox
    cannot be reached; what they used is kept in `spool` (FAREBOX_SPOOL_DIR, else below ~/.cache) and sent later, once
    each. Safe to use from several threads, tasks and forked processes."""

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        fail_open: bool = True,
        on_limit_warning: OnWarning | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        self.base_url = (base_url or os.environ.get("FAREBOX_URL") or URL).rstrip("/")
        secret = (key or os.environ.get("FAREBOX_KEY") or "").strip()
        if not secret:
            raise FareboxError(
                "Farebox needs a key: Farebox(key=…) or FAREBOX_KEY; `farebox keys create NAME` makes one"
            )
        self._key = secret
        self._on_warning = on_limit_warning
        self._door = Door(self.base_url, secret, fail_open=fail_open)
        self._sender = Sender(self._door, Spool(_spool_of(spool, self.base_url, secret)))

    # what an app does

    def wrap(self, client: C, *, provider: str | None = None) -> C:
        """The same client of an official SDK, its calls metered from now on: sync, async and streams. `provider`: by
        whose format and prices, where the client's own address does not tell."""
        from farebox.client.wrapping import wrap_client  # the readers of all providers: not before they are needed

        wrap_client(client, self, provider)
        return client

    def gateway(self, kind: Callable[..., C], *, provider: str | None = None, **options: Any) -> C:
        """A new client of an official SDK that calls by way of Farebox's gateway: `gateway(OpenAI)`.

        Address and key are Farebox's; each call is attributed by the context that it is made in, and limits warn and
        refuse as they do for a wrapped client. `kind` is the SDK's class, `options` are its own; `provider` is another
        one than the SDK's own, by the name that Farebox knows it by. Raises FareboxError for any other class."""
        from farebox.client.gateway import address

        return self.wrap(kind(**address(kind, self.base_url, self._key, provider, options)))

    def tracked_call(
        self,
        client: Any,
        params: Mapping[str, Any],
        *,
        tags: Mapping[str, Tag] | None = None,
        units: Mapping[str, int] | None = None,
        on_budget_warning: OnWarning | None = None,
        method: Callable[..., Any] | None = None,
        **who: object,
    ) -> Any:
        """Ask, call, meter, settle. `params` are the SDK's own for the call, with `stream` for a stream; `method` is
        its method where it is none that answers a prompt. `who`: user_id, tenant_id, tier, feature (or group), task_id,
        session_id, workspace_id. Raises LimitExceeded, with nothing sent, and what the SDK raises."""
        self.wrap(client)
        scope = widened(SCOPE.get(), who, tags, units, on_budget_warning, self)
        given = _given(params)
        call = method or _method(client, given, is_async=False)
        with noting(scope) as noted:
            try:
                answer = call(**given)
            except Exception as error:
                noted.reveal(error)
                raise
        return within(answer, scope)

    def context(
        self, *, tags: Mapping[str, Tag] | None = None, units: Mapping[str, int] | None = None, **who: object
    ) -> Context:
        """Whose the calls are that follow in this thread or task; to the end of the block, in a `with`."""
        return Context(widened(SCOPE.get(), who, tags, units))

    def task(self, task_id: str | None = None, **who: object) -> "Task":
        """A piece of work that several calls belong to, retries and fallbacks included. What it costs to get one done
        follows from how they end: `succeeded()`, `failed()`, or an exception."""
        return Task(self, task_id or uuid4().hex, who)

    def outcome(
        self, task_id: str, outcome: str, *, value_usd: str | None = None, tenant_id: str | None = None
    ) -> None:
        """Say how a task ended."""
        said = {"id": uuid4().hex, "task": task_id, "outcome": outcome, "value_usd": value_usd, "tenant": tenant_id}
        self._sender.put("outcome", {name: value for name, value in said.items() if value is not None})

    def record(self, event: Mapping[str, object]) -> None:
        """Book a call that something else has metered, such as another library's callback: an event as POST
        /api/v1/events takes it, of counts that are disjoint. `id` is the idempotency key, one is made where there is
        none; whose the call is, tags and units come from the context where the event does not say. Sent in the
        background, once, by way of the disk while Farebox is away; an event that is not taken is logged."""
        self._sender.put("event", recorded(event, SCOPE.get()))

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Send what waits, on disk also; whether Farebox has all of it in time."""
        return self._sender.flush(timeout_s)

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Send what can be sent in time; the rest waits on disk for the next process. Done at exit by itself."""
        self._sender.close(timeout_s)
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # what metered clients work with

    def permit(self, call: "Call") -> Permit:
        """Ask for a call. Raises LimitExceeded, Unreachable."""
        return self._permitted(call, self._door.ask(call.question(), call.scope))

    async def permit_async(self, call: "Call") -> Permit:
        """As `permit`."""
        return self._permitted(call, await self._door.ask_async(call.question(), call.scope))

    def _permitted(self, call: "Call", found: Permit) -> Permit:
        for warning in found.warnings:
            self.warn(call.scope, warning)
        return found

    def post(self, call: "Call") -> None:
        """It is over: its event is made and sent in the background."""
        self._sender.put("event", call)

    def warn(self, scope: Scope, warning: LimitWarning) -> None:
        """Tell whoever wants to know; in async code on the loop. What they raise is logged, and stops no call."""
        for told in (scope.on_warning, self._on_warning):
            if told is None:
                continue
            try:
                told(warning)
            except Exception:  # noqa: BLE001 - the app's own code: whatever it raises
                _log.exception("on_limit_warning failed")


class AsyncFarebox(Farebox):
    """The same for code that awaits. `wrap`, `context` and `task` are as they are; what waits is awaited."""

    async def tracked_call(
        self,
        client: Any,
        params: Mapping[str, Any],
        *,
        tags: Mapping[str, Tag] | None = None,
        units: Mapping[str, int] | None = None,
        on_budget_warning: OnWarning | None = None,
        method: Callable[..., Any] | None = None,
        **who: object,
    ) -> Any:
        """As Farebox.tracked_call."""
        self.wrap(client)
        scope = widened(SCOPE.get(), who, tags, units, on_budget_warning, self)
        given = _given(params)
        call = method or _method(client, given, is_async=True)
        with noting(scope) as noted:
            try:
                answer = call(**given)
                if inspect.isawaitable(answer):
                    answer = await answer
            except Exception as error:
                noted.reveal(error)
                raise
        return within_async(answer, scope)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *ended: Any) -> None:
        await _in_thread(self.close)

    async def flushed(self, timeout_s: float = FLUSH_S) -> bool:
        """As `flush`, awaited."""
        return bool(await _in_thread(lambda: self.flush(timeout_s)))


class Task:
    """See `Farebox.task`. Its calls carry `id` as their task."""

    def __init__(self, farebox: Farebox, task_id: str, who: Mapping[str, object]) -> None:
        self.id = task_id
        self._farebox = farebox
        self._who = who
        self._context: Context | None = None
        self._tenant: str | None = None
        self._is_told = False

    def succeeded(self, value_usd: str | None = None) -> None:
        """It is done, and worth so much."""
        self._tell("success", value_usd)

    def failed(self, outcome: str = "failure") -> None:
        self._tell(outcome, None)

    def _tell(self, outcome: str, value_usd: str | None) -> None:
        self._is_told = True
        self._farebox.outcome(self.id, outcome, value_usd=value_usd, tenant_id=self._tenant)

    def __enter__(self) -> Self:
        scope = widened(SCOPE.get(), {**self._who, "task_id": self.id})
        self._tenant = scope.dimensions.get("tenant")
        self._context = Context(scope)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._context is not None:
            self._context.__exit__(kind, error, trace)
        if isinstance(error, Exception) and not self._is_told:
            self.failed()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def _given(params: object) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        raise FareboxError(f"params is a {type(params).__name__}: give the SDK's arguments by name, such as model")
    return dict(params)


def _method(client: Any, params: dict[str, Any], *, is_async: bool) -> Callable[..., Any]:
    from farebox.client.wrapping import async_method_for, method_for

    return async_method_for(client, params) if is_async else method_for(client, params)


async def _in_thread(run: Callable[[], Any]) -> Any:
    import asyncio

    return await asyncio.to_thread(run)


def _spool_of(given: str | os.PathLike[str] | None, base_url: str, key: str) -> Path:
    """A directory for each address and key: events of one are never sent with another."""
    root = given or os.environ.get("FAREBOX_SPOOL_DIR") or usual_place()
    return Path(root) / blake2b(f"{base_url} {key}".encode(), digest_size=8).hexdigest()


# for scripts: one client for the process

_DEFAULTS: dict[tuple[str | None, str | None], Farebox] = {}


def default(base_url: str | None = None, key: str | None = None) -> Farebox:
    """The process's own client of this address and key; from the environment unless given."""
    found = _DEFAULTS.get((base_url, key))
    if found is None:
        found = _DEFAULTS[base_url, key] = Farebox(base_url, key)
    return found


def tracked_call(
    client: Any, params: Mapping[str, Any], *, api_key: str | None = None, base_url: str | None = None, **more: Any
) -> Any:
    """As Farebox.tracked_call, by the process's own client. `api_key` is a Farebox key."""
    return default(base_url, api_key).tracked_call(client, params, **more)


def wrap(client: C, *, provider: str | None = None) -> C:
    """As Farebox.wrap, by the process's own client."""
    return default().wrap(client, provider=provider)


def task(task_id: str | None = None, **who: object) -> Task:
    """As Farebox.task, by the process's own client."""
    return default().task(task_id, **who)


def context(**who: Any) -> Context:
    """As Farebox.context; needs no client."""
    tags, units = who.pop("tags", None), who.pop("units", None)
    return Context(widened(SCOPE.get(), who, tags, units))

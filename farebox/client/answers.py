"""What a call raises and answers with: refusals as what they are, and what is read later in the scope of its call."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Self

from farebox.client.context import REFUSED, SCOPE, Scope
from farebox.errors import FareboxError

_COPIES: Final = ("copy", "with_options")
"""Methods of an SDK's client that answer another one, on the same HTTP client."""


class noting:
    """The scope of a call, and the refusals below it that an SDK would dress up."""

    def __init__(self, scope: Scope | None = None) -> None:
        self._scope = scope
        self._noted: list[FareboxError] = []

    def __enter__(self) -> Self:
        self._refused = REFUSED.set(self._noted)
        self._scoped = None if self._scope is None else SCOPE.set(self._scope)
        return self

    def __exit__(self, *ended: object) -> None:
        REFUSED.reset(self._refused)
        if self._scoped is not None:
            SCOPE.reset(self._scoped)

    def reveal(self, error: Exception) -> None:
        """Raises the refusal that an SDK's error stands for, where it stands for one."""
        if self._noted and error is not self._noted[-1]:
            raise self._noted[-1] from error


def raise_refusals(client: Any) -> None:
    """Have `request` of an SDK's client, and of the clients that are made from it, raise LimitExceeded where a limit
    refused the call. Idempotent."""
    if "request" in vars(client):
        return
    original = client.request

    def request(*given: Any, **named: Any) -> Any:
        with noting() as noted:
            try:
                return original(*given, **named)
            except Exception as error:
                noted.reveal(error)
                raise

    async def request_async(*given: Any, **named: Any) -> Any:
        with noting() as noted:
            try:
                return await original(*given, **named)
            except Exception as error:
                noted.reveal(error)
                raise

    client.request = request_async if inspect.iscoroutinefunction(original) else request
    for name in _COPIES:
        setattr(client, name, _copying(getattr(client, name)))


def _copying(original: Any) -> Any:
    def copy(*given: Any, **named: Any) -> Any:
        made = original(*given, **named)
        raise_refusals(made)
        return made

    return copy


def within(answer: Any, scope: Scope) -> Any:
    """The answer; what of it is only asked for later (a generator, a stream that is opened by `with`) is asked for in
    the scope that its call was made in."""
    if inspect.isgenerator(answer):
        return _within(answer, scope)
    return _Opening(answer, scope) if _opens(answer, "__enter__", "__iter__") else answer


def within_async(answer: Any, scope: Scope) -> Any:
    if inspect.isasyncgen(answer):
        return _within_async(answer, scope)
    return _OpeningAsync(answer, scope) if _opens(answer, "__aenter__", "__aiter__") else within(answer, scope)


def _opens(answer: Any, entering: str, reading: str) -> bool:
    """Whether it is only a promise of a stream: a stream itself can be read."""
    return hasattr(type(answer), entering) and not hasattr(type(answer), reading)


def _within(items: Iterator[Any], scope: Scope) -> Iterator[Any]:
    """A generator whose call begins when it is first asked, in the scope that it was made in."""
    while True:
        with noting(scope) as noted:
            try:
                item = next(items)
            except StopIteration:
                return
            except Exception as error:
                noted.reveal(error)
                raise
        yield item


async def _within_async(items: AsyncIterator[Any], scope: Scope) -> AsyncIterator[Any]:
    while True:
        with noting(scope) as noted:
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            except Exception as error:
                noted.reveal(error)
                raise
        yield item


class _Opening:
    """An SDK's manager of a stream, entered in a scope."""

    def __init__(self, inner: Any, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    def __enter__(self) -> Any:
        with noting(self._scope) as noted:
            try:
                return self._inner.__enter__()
            except Exception as error:
                noted.reveal(error)
                raise

    def __exit__(self, *ended: Any) -> Any:
        return self._inner.__exit__(*ended)


class _OpeningAsync:
    def __init__(self, inner: Any, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    async def __aenter__(self) -> Any:
        with noting(self._scope) as noted:
            try:
                return await self._inner.__aenter__()
            except Exception as error:
                noted.reveal(error)
                raise

    async def __aexit__(self, *ended: Any) -> Any:
        return await self._inner.__aexit__(*ended)

"""Asking Farebox whether a call may be sent, and what holds while it cannot be asked."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from farebox.client.context import LimitWarning, Scope
from farebox.client.wire import Answer, Wire
from farebox.errors import FareboxError, LimitExceeded, Unreachable

ASK_S: Final = 5.0
"""Longest wait for an answer: Farebox itself waits up to a second for workers."""
AGAIN_S: Final = 1.0
"""How long after a failure calls go on without asking."""
KNOWN_MAX: Final = 10_000
"""Subjects remembered as blocked, and as strict."""
AUTHORIZE: Final = "/api/v1/authorize"
_AWAY: Final = frozenset({502, 503, 504})


class Permit(NamedTuple):
    """What a call was let pass with. No `authorization_id`: Farebox was not asked."""

    authorization_id: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    tier: str | None = None
    warnings: tuple[LimitWarning, ...] = ()


UNASKED: Final = Permit()
_answers: Final = msgspec.json.Decoder(dict[str, Any])


class Door:
    """Safe to use from several threads, and after a fork."""

    def __init__(self, base_url: str, key: str, *, fail_open: bool) -> None:
        self.base_url = base_url
        self._fail_open = fail_open
        self._wire = Wire(base_url, key, wait_s=ASK_S)
        self._away_until_s = 0.0
        self._blocked: dict[tuple[str, ...], tuple[float, dict[str, object]]] = {}
        self._strict: dict[tuple[str, ...], bool] = {}

    def ask(self, question: Mapping[str, object], scope: Scope) -> Permit:
        """Raises LimitExceeded; Unreachable where Farebox cannot be asked and `fail_open` is off; FareboxError where
        the question is refused, such as for a key that is unknown."""
        if time.monotonic() < self._away_until_s:
            return self._alone(scope, "it did not answer a moment ago")
        try:
            answer = self.post(AUTHORIZE, question)
        except Unreachable as error:
            return self._is_away(scope, error)
        return self._permit(answer, scope)

    async def ask_async(self, question: Mapping[str, object], scope: Scope) -> Permit:
        """As `ask`."""
        if time.monotonic() < self._away_until_s:
            return self._alone(scope, "it did not answer a moment ago")
        try:
            answer = await self.post_async(AUTHORIZE, question)
        except Unreachable as error:
            return self._is_away(scope, error)
        return self._permit(answer, scope)

    def post(self, path: str, body: object) -> dict[str, Any]:
        """The answer's JSON. Raises Unreachable, FareboxError."""
        try:
            answer = self._wire.post(path, msgspec.json.encode(body))
        except OSError as error:
            raise self._silent(error) from error
        return self._read(path, answer)

    async def post_async(self, path: str, body: object) -> dict[str, Any]:
        """As `post`."""
        try:
            answer = await self._wire.post_async(path, msgspec.json.encode(body))
        except OSError as error:
            raise self._silent(error) from error
        return self._read(path, answer)

    def _silent(self, error: OSError) -> Unreachable:
        return Unreachable(f"Farebox does not answer at {self.base_url}: {str(error) or type(error).__name__}")

    def _read(self, path: str, answer: Answer) -> dict[str, Any]:
        status, said = answer
        if status in _AWAY:
            raise Unreachable(f"Farebox at {self.base_url} answers {status}")
        if status >= 400:
            raise FareboxError(f"Farebox refuses {path}: {_message(status, said)}")
        try:
            return _answers.decode(said)
        except msgspec.DecodeError:
            raise Unreachable(f"what answers at {self.base_url} is no Farebox") from None

    def close(self) -> None:
        self._wire.close()

    def _permit(self, answer: Mapping[str, Any], scope: Scope) -> Permit:
        if not isinstance(answer.get("verdict"), str):
            return self._is_away(scope, Unreachable(f"what answers at {self.base_url} is no Farebox"))
        limits = answer.get("limits") or {}
        strict = answer.get("strict") is True
        if strict or self._strict:
            self._remember_strict(scope, strict)
        if answer.get("verdict") == "block":
            refusal = dict(answer.get("refusal") or {})
            self._remember_blocked(refusal, scope)
            raise LimitExceeded(refusal)
        warned = limits.get("warned")
        return Permit(
            answer.get("authorization_id"), answer.get("model"), answer.get("max_tokens"), answer.get("tier"),
            tuple(map(_warning, warned)) if warned else (),
        )  # fmt: skip

    # while it cannot be asked

    def _is_away(self, scope: Scope, error: Unreachable) -> Permit:
        self._away_until_s = time.monotonic() + AGAIN_S
        return self._alone(scope, str(error))

    def _alone(self, scope: Scope, why: str) -> Permit:
        now_s = time.time()
        for key, (until_s, refusal) in list(self._blocked.items()):
            if until_s > now_s and key == _account(scope, str(refusal.get("per")), str(refusal.get("subject"))):
                raise LimitExceeded(refusal)
        if self._strict.get(_subject(scope)):
            message = f"a strict limit applies, and Farebox cannot be asked: {why}"
            raise LimitExceeded({"code": "limit_busy", "message": message})
        if not self._fail_open:
            raise Unreachable(f"Farebox cannot be asked: {why}")
        return UNASKED

    def _remember_blocked(self, refusal: dict[str, object], scope: Scope) -> None:
        if refusal.get("code") != "limit_exceeded":
            return
        until_s = _moment_s(refusal.get("reset_at"))
        if len(self._blocked) >= KNOWN_MAX:
            self._blocked.clear()
        self._blocked[_account(scope, str(refusal.get("per")), str(refusal.get("subject")))] = until_s, refusal

    def _remember_strict(self, scope: Scope, strict: bool) -> None:
        if len(self._strict) >= KNOWN_MAX:
            self._strict.clear()
        self._strict[_subject(scope)] = strict


def _warning(warned: Mapping[str, Any]) -> LimitWarning:
    return LimitWarning(warned["limit_id"], float(warned["share"]), warned.get("subject"), warned.get("reset_at"))


def _subject(scope: Scope) -> tuple[str, ...]:
    """Whom a limit may look at, but for the single task and session."""
    said = scope.dimensions
    return tuple(said.get(name, "") for name in ("tenant", "workspace", "user", "tier", "feature"))


def _account(scope: Scope, per: str, told: str) -> tuple[str, ...]:
    """The account of a refusal, for calls of this scope. What only Farebox knows (a key) stands as it was told."""
    from farebox.core.limits import Who

    said = scope.dimensions
    subject = told if per == "key" else Who(said, scope.tags).subject(per)
    return per, subject, said.get("tier", ""), said.get("feature", "")


def _moment_s(text: object) -> float:
    """An RFC 3339 moment; for ever where there is none, as for a limit without an end."""
    if not isinstance(text, str):
        return float("inf")
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _message(status: int, said: bytes) -> str:
    try:
        error = msgspec.json.decode(said)["error"]
        return f"{status} {error['code']}: {error['message']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(status)

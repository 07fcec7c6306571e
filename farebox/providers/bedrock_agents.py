"""Agents and guardrails: what is billed where Bedrock calls models on the caller's behalf.

An agent's stream tells of its model calls only in its trace (`enableTrace`): an input event may name the model, the
output event of the same trace id has the usage. Without a trace the tokens are billed and not on the wire.
"""

from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.bedrock_models import model_name
from farebox.providers.bedrock_usage import Assessment, GuardrailUsage, TokenUsage, put_units, split
from farebox.providers.documents import Tree, read, tree_of
from farebox.providers.eventstream import Corrupt, EventException
from farebox.providers.openai_usage import Meters
from farebox.providers.protocol import Intent, Metered, SubUsage
from farebox.providers.readers import sum_usage, tokens_of

GUARDRAIL: Final = "guardrail"
"""The name under which a guardrail's own units are priced."""
TRACES_MAX: Final = 1024
"""Model calls of one answer whose model is remembered until their usage comes."""


class _Metadata(msgspec.Struct, frozen=True):
    usage: TokenUsage | None = None


class _ModelInput(msgspec.Struct, frozen=True, gc=False):
    foundationModel: str | None = None
    traceId: str | None = None


class _ModelOutput(msgspec.Struct, frozen=True):
    metadata: _Metadata | None = None
    traceId: str | None = None


class _Step(msgspec.Struct, frozen=True):
    modelInvocationInput: _ModelInput | None = None
    modelInvocationOutput: _ModelOutput | None = None


class _Steps(msgspec.Struct, frozen=True):
    preProcessingTrace: _Step | None = None
    orchestrationTrace: _Step | None = None
    postProcessingTrace: _Step | None = None
    routingClassifierTrace: _Step | None = None


class _Trace(msgspec.Struct, frozen=True):
    trace: _Steps | None = None


class AgentEvent(msgspec.Struct, frozen=True):
    trace: _Trace | None = None
    exception: EventException | None = None
    corrupt: Corrupt | None = None


class AgentFold:
    """The model calls of an agent, summed by model: the first one's on top, those of others as parts."""

    tree: Tree = tree_of(AgentEvent)

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._models: dict[str, str] = {}
        self._by_model: dict[str, Usage] = {}
        self._error: str | None = None
        self._marks: tuple[str, ...] = ()

    def take(self, document: bytes, whole: bool) -> None:
        try:
            event = read(document, AgentEvent)
        except ValueError:
            self._mark("unreadable")
            return
        if event.exception is not None:
            self._error = event.exception.type
        elif event.corrupt is not None:
            self._mark("corrupt")
        elif event.trace is not None and event.trace.trace is not None:
            steps = event.trace.trace
            for name in _Steps.__struct_fields__:
                if (step := getattr(steps, name)) is not None:
                    self._take_step(step)

    def _take_step(self, step: _Step) -> None:
        given, made = step.modelInvocationInput, step.modelInvocationOutput
        if given is not None and given.foundationModel and len(self._models) < TRACES_MAX:
            self._models[given.traceId or ""] = model_name(given.foundationModel)
        if made is None or made.metadata is None or made.metadata.usage is None:
            return
        model = self._models.pop(made.traceId or "", None) or self._intent.model or ""
        counted = split(made.metadata.usage)
        self._by_model[model] = sum_usage(self._by_model.get(model, {}), counted.usage)

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    @property
    def running(self) -> tuple[int, int]:
        sums = self._by_model.values()
        if not sums:
            return tokens_of(self._intent.input_bytes), 0
        return sum(input_tokens(usage) for usage in sums), sum(output_tokens(usage) for usage in sums)

    def metered(self, ended: bool) -> Metered:
        models = list(self._by_model)
        complete = ended and self._error is None
        return Metered(
            usage=self._by_model[models[0]] if models else {},
            quality=("exact" if complete else "estimated") if models else "missing",
            usage_raw=msgspec.json.encode(self._by_model) if models else b"",
            model=(models[0] or None) if models else None,
            parts=tuple(SubUsage(model, self._by_model[model], "agent") for model in models[1:]),
            error=self._error,
            complete=complete,
            marks=self._marks,
        )


class _Applied(msgspec.Struct, frozen=True):
    usage: GuardrailUsage | None = None
    assessments: list[Assessment] | None = None
    action: str | None = None


class GuardrailFold:
    """ApplyGuardrail: a text looked at without a model. Its units by policy are the bill."""

    tree: Tree = tree_of(_Applied)
    running = (0, 0)

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._action: str | None = None
        self._raw = b""
        self._is_cut = False

    def take(self, document: bytes, whole: bool) -> None:
        try:
            applied = read(document, _Applied)
        except ValueError:
            self._is_cut = True
            return
        self._action = applied.action
        if applied.usage is not None:
            meters = Meters()
            put_units(meters, applied.usage)
            self._usage, self._raw = meters.usage, msgspec.json.encode(applied.usage)

    def metered(self, ended: bool) -> Metered:
        return Metered(
            usage=self._usage or {},
            quality="missing" if self._usage is None else "exact",
            usage_raw=self._raw,
            model=GUARDRAIL,
            complete=ended and not self._is_cut,
            finish_reason=self._action,
        )


class _Invocation(msgspec.Struct, frozen=True, rename="camel"):
    invocation_arn: str | None = None


class InvocationFold:
    """An answer that does not tell what it used; of an asynchronous invocation, which one it began."""

    tree: Tree = tree_of(_Invocation)
    running = (0, 0)

    def __init__(self) -> None:
        self._objects: tuple[Stored, ...] = ()

    def take(self, document: bytes, whole: bool) -> None:
        try:
            begun = read(document, _Invocation).invocation_arn
        except ValueError:
            return
        self._objects = (Stored(begun),) if begun else ()

    def metered(self, ended: bool) -> Metered:
        return Metered(objects=self._objects)

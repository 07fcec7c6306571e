"""The Responses API: answers as a response object, or events that end in one.

In a stream only the terminal event's `response` carries usage; the ones before say `usage: null`. Tokens of the
hosted image tool stand apart in `tool_usage.image_gen` and are billed at the image model's price.
"""

from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.contents import Content
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.openai_chat import NOTHING, NULL, error_name, is_given, judge
from farebox.providers.openai_media import as_image_output
from farebox.providers.openai_usage import Meters, OpenAIUsage, Split, SvgUsage, split, split_svg
from farebox.providers.protocol import Endpoint, Intent, Metered, SubUsage
from farebox.providers.readers import tokens_of

IMAGE_TOOL_MODEL: Final = "gpt-image-1"
"""What the hosted image tool runs where the answer does not name a model."""
ITEMS_MAX: Final = 500
FINISHED: Final = ("completed", "incomplete", "failed", "cancelled")


class Action(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None


class ItemText(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct, frozen=True):
    """An output item: fees depend on its type, an estimate on the length of its text."""

    type: str | None = None
    id: str | None = None
    action: Action | None = None
    container_id: str | None = None
    content: list[ItemText] | None = None
    svg_usage: SvgUsage | None = None
    arguments: str | None = None


class Tool(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    model: str | None = None


class SearchUsage(msgspec.Struct, frozen=True, gc=False):
    num_requests: int | None = None


class ToolUsage(msgspec.Struct, frozen=True):
    web_search: SearchUsage | None = None
    image_gen: OpenAIUsage | None = None


class Incomplete(msgspec.Struct, frozen=True, gc=False):
    reason: str | None = None


class Response(msgspec.Struct, frozen=True):
    """A response object."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    usage: msgspec.Raw = NULL
    tool_usage: ToolUsage | None = None
    output: list[Item] | None = None
    tools: list[Tool] | None = None
    error: msgspec.Raw = NULL
    incomplete_details: Incomplete | None = None


class ResponsesEvent(msgspec.Struct, frozen=True):
    """One event of a stream."""

    type: str | None = None
    response: Response | None = None
    delta: str | None = None
    item: Item | None = None
    item_id: str | None = None
    code: str | None = None
    error: msgspec.Raw = NULL


_UNCOUNTED_DELTAS: Final = ("response.audio.delta", "response.output_audio.delta")
"""Deltas whose characters are no text of the model."""


REMEMBERED_MAX: Final = 4096
"""Items of one stream that are remembered until its terminal event, which repeats them; no answer has so many."""
_UNREADABLE: Final = Split({}, ("unreadable",))
"""Of a usage object that makes no sense. A later one of the same stream may be readable."""


_NO_ANSWERS: Final = frozenset(
    {None, "reasoning", "web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools", "compaction"}
)
"""Items that are steps on the way to an answer, and none."""


class ResponsesFold:
    """What answers of the Responses API mean. `is_stream`: documents are events, not the response itself."""

    def __init__(self, endpoint: Endpoint, intent: Intent, *, is_stream: bool) -> None:
        self._endpoint = endpoint
        self._intent = intent
        self._is_stream = is_stream
        self._decode = decoder(ResponsesEvent).decode
        self._response: Response | None = None
        self._items: dict[str, Item] = {}
        self._error: str | None = None
        self._characters = 0
        self._split: Split | None = None
        self._content = Content(intent)
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(ResponsesEvent if self._is_stream else Response)

    def take(self, document: bytes, whole: bool) -> None:
        if not self._is_stream:
            self._take_body(document, whole)
            return
        try:
            event = self._decode(document)
        except (ValueError, RecursionError):
            self._content.doubt()
            try:
                event = read(document, ResponsesEvent)
            except ValueError:
                if document.strip() != b"[DONE]":
                    self._mark("unreadable")
                return
        if event.delta is not None and event.type not in _UNCOUNTED_DELTAS:
            self._characters += len(event.delta)
            self._take_delta(event.type, event.delta, event.item_id)
        elif event.response is not None:
            self._response, self._split = event.response, None
            if event.response.output and self._content.kind == "nothing":  # taken up late: what passed before is in it
                self._take_output(event.response.output)
        elif event.item is not None:
            self._take_item(event.item)
        elif event.type == "error" or is_given(event.error):
            self._error = event.code or error_name(event.error) or "error"

    def _take_delta(self, kind: str | None, delta: str, item_id: str | None) -> None:
        if kind == "response.output_text.delta":
            self._content.add_text(delta)
        elif kind == "response.function_call_arguments.delta":
            self._content.add_call(item_id, None, delta)
        elif kind == "response.refusal.delta":
            self._content.refuse()

    def _take_item(self, item: Item) -> None:
        """Keep what fees depend on, should the stream end without its terminal event; not the item's text."""
        kept = Item(item.type, item.id, item.action, item.container_id, svg_usage=item.svg_usage)
        name = item.id or str(len(self._items))
        self._look_at(item.type, name)
        if len(self._items) < REMEMBERED_MAX or name in self._items:
            self._items[name] = kept
        else:
            self._mark("tools_unmetered")

    def _look_at(self, kind: str | None, name: str) -> None:
        """What an item is. Text and arguments are told by deltas of their own; other items are an answer in themselves
        where they hold what was asked for, such as an image or a call that the app must make."""
        if kind == "message":
            self._content.begin_text()
        elif kind == "function_call":
            self._content.add_call(name, None, "")
        elif kind not in _NO_ANSWERS:
            self._content.add_other()

    def _take_output(self, items: list[Item]) -> None:
        """The items of a response that came whole."""
        for place, item in enumerate(items):
            self._look_at(item.type, item.id or str(place))
            if item.arguments:
                self._characters += len(item.arguments)
                if item.type == "function_call":
                    self._content.add_call(item.id or str(place), None, item.arguments)
            for part in item.content or ():
                self._characters += len(part.text or "")
                if part.refusal:
                    self._content.refuse()
                elif part.text and item.type == "message":
                    self._content.add_text(part.text)

    def _take_body(self, document: bytes, whole: bool) -> None:
        try:
            self._response = read(document, Response)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
            self._content.doubt()
            self._response = None if whole else salvage(document, Response)
        self._take_output((self._response.output if self._response else None) or [])

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def _counted(self) -> Split | None:
        response = self._response
        if self._split is None and response is not None and is_given(response.usage):
            try:
                self._split = split(read(response.usage, OpenAIUsage))
            except ValueError:
                self._split = _UNREADABLE
        return None if self._split is _UNREADABLE else self._split

    @property
    def running(self) -> tuple[int, int]:
        if self._response is not None and (counted := self._counted()):
            return input_tokens(counted.usage), output_tokens(counted.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        response = self._response or Response()
        error = self._error or error_name(response.error)
        complete = ended and self._is_complete(response)
        pending = response.status in ("queued", "in_progress") and not is_given(response.usage) and complete
        counted = self._counted()
        unread = _UNREADABLE.marks if self._split is _UNREADABLE else ()
        believed = judge(counted, self._characters, self._intent, complete, error)
        usage, quality, marks = NOTHING if pending else believed
        if response.status == "cancelled" and counted is None and not self._characters:
            usage, quality, marks = {}, "exact", ("cancelled_unmetered",)
        fees, parts, more = beside(response, response.output or list(self._items.values()))
        return Metered(
            usage={**usage, **fees},
            quality=quality,
            usage_raw=_raw_usage(response),
            model=response.model or None,
            service_tier=response.service_tier,
            parts=parts,
            object_id=None if response.store is False else response.id or self._endpoint.object_id,
            objects=self._objects(response),
            pending=pending,
            error=error,
            complete=complete,
            finish_reason=(response.incomplete_details.reason if response.incomplete_details else None)
            or response.status,
            content="" if not self._is_stream and response.output is None else self._content.kind,
            marks=tuple(dict.fromkeys(self._marks + unread + marks + more)),
        )

    def _objects(self, response: Response) -> tuple[Stored, ...]:
        """What can be named in later requests: the items of a stored response, the containers that its code ran in."""
        if not response.output or response.id is None:
            return ()
        items = response.output[:ITEMS_MAX]
        containers = dict.fromkeys(item.container_id for item in items if item.container_id)
        made = tuple(Stored(container) for container in containers)
        if response.store is False:
            return made
        return made + tuple(Stored(item.id, "of", response.id) for item in items if item.id)

    def _is_complete(self, response: Response) -> bool:
        if "cut" in self._marks or response.id is None:
            return False
        return not self._is_stream or response.status in FINISHED


def beside(response: Response, items: list[Item]) -> tuple[Usage, tuple[SubUsage, ...], tuple[str, ...]]:
    """Fees of hosted tools, and what other models used: the image tool, whoever wrote an SVG for it."""
    if not items and response.tool_usage is None:
        return {}, (), ()
    tool_usage = response.tool_usage or ToolUsage()
    fees = tool_fees(items, tool_usage)
    parts: list[SubUsage] = []
    marks = fees.marks
    if tool_usage.image_gen is not None:
        image = split(tool_usage.image_gen)
        models = [tool.model for tool in response.tools or () if tool.type == "image_generation" and tool.model]
        model = models[0] if models else IMAGE_TOOL_MODEL
        parts += [SubUsage(model, as_image_output(image.usage), "image_tool")] if image.usage else []
        marks += image.marks
    elif any(item.type == "image_generation_call" for item in items):
        marks += ("image_tool_unmetered",)
    for item in items:
        if item.svg_usage is not None and (svg := split_svg(item.svg_usage)).usage:
            parts.append(SubUsage(item.svg_usage.model or "", svg.usage, "svg"))
            marks += svg.marks
    return fees.usage, tuple(parts), marks


def tool_fees(items: list[Item], tool_usage: ToolUsage) -> Split:
    """Per-call fees. Opening a page of a search's results is no search; a code interpreter is billed by container."""
    searches = sum(
        1
        for item in items
        if item.type == "web_search_call" and (item.action is None or item.action.type in (None, "search"))
    )
    if tool_usage.web_search is not None and tool_usage.web_search.num_requests is not None:
        searches = tool_usage.web_search.num_requests
    containers = {item.container_id or item.id for item in items if item.type == "code_interpreter_call"}
    fees = Meters()
    fees.put("web_search", searches)
    fees.put("file_search", sum(1 for item in items if item.type == "file_search_call"))
    fees.put("code_session", len(containers))
    return Split(fees.usage, fees.marks)


def _raw_usage(response: Response) -> bytes:
    return bytes(response.usage) if is_given(response.usage) else b""

"""What an answer turned out to hold, as far as its outcome needs it. Its text is looked at as it passes, never kept."""

from farebox.core.json_text import JsonText
from farebox.providers.protocol import ContentKind, Intent


class Content:
    """A fold tells it of each piece of an answer; `kind` says what it came to. Text is what the caller reads: thinking
    is none of it. JSON is looked at only where the request asked for it and for one answer."""

    __slots__ = (
        "_calls",
        "_doubted",
        "_has_call",
        "_has_text",
        "_index",
        "_is_invalid",
        "_json",
        "_name",
        "_refused",
        "_text",
    )

    def __init__(self, intent: Intent) -> None:
        json_in = intent.json_in if intent.choices == 1 else ""
        self._text = json_in == "text"
        self._calls = json_in == "calls"
        self._json: JsonText | None = None
        self._has_text = False
        self._has_call = False
        self._name: str | None = None
        self._index: int | None = None
        self._is_invalid = False
        self._refused = False
        self._doubted = False

    def add_text(self, piece: str) -> None:
        if piece:
            self._has_text = True
            if self._text:
                self._feed(piece)

    def begin_text(self) -> None:
        """Another block of text begins: what was asked for stands in the last one."""
        if self._text:
            self._json = None

    def add_call(self, name: str | None, index: int | None, arguments: str) -> None:
        """A call of a tool, or a piece of its arguments. Another `name` (its id) begins another call; where it has
        none, another `index` does."""
        self._has_call = True
        if not self._calls:
            return
        begins = index is not None and index != self._index if name is None else name != self._name
        if begins:
            self._close()
            self._name, self._index = name, index
        elif index is not None:
            self._index = index
        if arguments:
            self._feed(arguments)

    def add_other(self) -> None:
        """Something that is no text: audio, an image, a result of a tool."""
        self._has_call = True

    def refuse(self) -> None:
        """The model says that it will not."""
        self._refused = True

    def doubt(self) -> None:
        """Part of the answer could not be read: what was not seen may be there all the same."""
        self._doubted = True

    @property
    def kind(self) -> ContentKind:
        if self._refused:
            return "refused"
        if self._doubted:
            return "some" if self._has_text or self._has_call else ""
        if not self._has_text and not self._has_call:
            return "nothing"
        if self._calls:
            # A tool that was to be called and was not is no answer in the form that was asked for.
            wrong = self._is_invalid or not self._has_call or (self._json is not None and not self._json.is_valid)
            return "invalid" if wrong else "some"
        if self._text and not self._has_call and (self._json is None or not self._json.is_valid):
            return "invalid"
        return "some"

    def _feed(self, piece: str) -> None:
        if self._json is None:
            self._json = JsonText()
        self._json.feed(piece)

    def _close(self) -> None:
        """The arguments so far are all of a call; none at all are an empty object."""
        if self._json is not None and not self._json.is_valid:
            self._is_invalid = True
        self._json = None

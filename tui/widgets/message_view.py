"""One message of the conversation: one widget, however long and however rich its text.

One `Markdown` widget a message would be fifty widgets a message, and freezes long chats; a plain string would be read
as markup. `Content` is neither parsed nor split.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Key
from textual.geometry import Region
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from tui.chats.tree import StoredMessage
from tui.keys import DEFAULTS, keys_of
from tui.text import visible
from tui.words import words


def _own_keys() -> set[str]:
    """Keys that mean something to a selected message."""
    return {key for action in DEFAULTS if action.startswith("message.") for key in keys_of(action)}


class MessageView(Widget, can_focus=True):
    """A message that can be selected with Tab; what is typed into it goes to the prompt."""

    FOCUS_ON_CLICK = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "screen.change_version(-1)", "Version before", id="message.before"),
        Binding("right_square_bracket", "screen.change_version(1)", "Version after", id="message.after"),
        Binding("e", "screen.edit_selected", "Edit", id="message.edit"),
        Binding("r", "screen.regenerate_selected", "Regenerate", id="message.regenerate"),
        Binding("c", "screen.copy_selected", "Copy", id="message.copy"),
        Binding("y", "screen.copy_code_selected", "Copy code", id="message.code"),
        Binding("up,k,shift+tab", "screen.select_message(-1)", "Message above", id="message.up"),
        Binding("down,j,tab", "screen.select_message(1)", "Message below", id="message.down"),
        Binding("escape", "screen.leave_selection", "Back", id="message.leave"),
    ]

    class Typed(Message):
        """A character for the prompt."""

        def __init__(self, character: str) -> None:
            super().__init__()
            self.character = character

    def __init__(self, message: StoredMessage, *, classes: str) -> None:
        super().__init__(classes=f"message {classes}")
        self.auto_links = False
        self.message = message
        self.content = Content("")
        """What is shown."""
        self._height = 0
        self._left = False
        """Whether the person has begun to type something for the prompt."""

    def render(self) -> Content:
        return self.content

    def show(self, content: Content, changed: Content | None = None) -> None:
        """Show something else.

        Args:
            changed: the end of `content`, where nothing before it differs from what is shown: the rest is not painted.
        """
        width = self.content_size.width
        self.content = content
        height = content.get_height({}, width) if width else 0
        # To lay out the screen anew costs as much as all the rest.
        if changed is None or not height or height != self._height:
            self._height = height
            self.clear_cached_dimensions()
            self.refresh(layout=True)
        else:
            rows = min(changed.get_height({}, width), height)
            self.refresh(Region(0, height - rows, width, rows))

    def on_focus(self) -> None:
        self._left = False

    def on_key(self, event: Key) -> None:
        # The letters that are keys here are letters again once a word has begun: the prompt gets the focus only after
        # what was typed quickly has arrived.
        if event.is_printable and event.character and (self._left or event.key not in _own_keys()):
            self._left = True
            event.stop()
            event.prevent_default()
            self.post_message(self.Typed(event.character))


class UserMessage(MessageView):
    """What the person said, as it was written."""

    def __init__(self, message: StoredMessage, version: tuple[int, int] = (1, 1)) -> None:
        super().__init__(message, classes="user")
        head = (words().you, "bold $primary")
        self.show(Content.assemble(head, *version_mark(version), "\n", visible(message.content)))


class Note(Static):
    """What the program has to say."""

    def __init__(self, text: str) -> None:
        super().__init__(Content(visible(text)), classes="message note")


def version_mark(version: tuple[int, int]) -> list[tuple[str, str]]:
    """What a head says of which of how many versions this is; nothing where there is one."""
    at, count = version
    return [(f"  {words().version.format(at=at, count=count)}", "$accent")] if count > 1 else []

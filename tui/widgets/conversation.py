"""The conversation: messages from top to bottom, following the newest."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from tui.widgets.message_view import Note, ReplyMessage, UserMessage
from tui.widgets.welcome import Welcome


class Conversation(VerticalScroll, can_focus=False):
    """Scrolls by itself until the person scrolls up."""

    def __init__(self, model_label: str) -> None:
        super().__init__(id="conversation")
        self._model_label = model_label

    def compose(self) -> ComposeResult:
        # As high as the window at least: an anchored view would push less than that to its lower edge.
        with Vertical(id="messages"):
            yield Welcome(self._model_label)

    def on_mount(self) -> None:
        self.anchor()

    @property
    def _messages(self) -> Vertical:
        return self.query_one("#messages", Vertical)

    def add_turn(self, text: str) -> ReplyMessage:
        """Show a question, and the place of its answer."""
        reply = ReplyMessage(self._model_label)
        self._leave_welcome()
        self._messages.mount_all([UserMessage(text), reply])
        self.anchor()
        return reply

    def add_note(self, text: str) -> None:
        """Say something between the messages."""
        self._leave_welcome()
        self._messages.mount(Note(text))

    def take_back_turn(self) -> None:
        """Remove the newest question and the place of its answer."""
        self.query(UserMessage).last().remove()
        self.query(ReplyMessage).last().remove()

    def clear(self) -> None:
        """Begin an empty conversation."""
        self._messages.remove_children()
        self._messages.mount(Welcome(self._model_label))
        self.anchor()

    def _leave_welcome(self) -> None:
        self.query(Welcome).remove()

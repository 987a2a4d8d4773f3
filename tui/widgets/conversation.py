"""The conversation: messages from top to bottom, following the newest."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from tui.widgets.message_view import Note, ReplyMessage, UserMessage
from tui.widgets.welcome import Welcome


class Conversation(VerticalScroll, can_focus=False):
    """Scrolls by itself until the person scrolls up."""

    def __init__(self, model_label: str) -> None:
        super().__init__(id="conversation")
        self._model_label = model_label

    def compose(self) -> ComposeResult:
        yield Welcome(self._model_label)

    def on_mount(self) -> None:
        self.anchor()

    def add_turn(self, text: str) -> ReplyMessage:
        """Show a question, and the place of its answer."""
        reply = ReplyMessage(self._model_label)
        self._leave_welcome()
        self.mount_all([UserMessage(text), reply])
        self.anchor()
        return reply

    def add_note(self, text: str, *, error: bool = False, before: ReplyMessage | None = None) -> None:
        """Say something between the messages."""
        self._leave_welcome()
        self.mount(Note(text, error=error), before=before)

    def take_back_turn(self) -> None:
        """Remove the newest question and the place of its answer."""
        for kind in (UserMessage, ReplyMessage):
            if found := self.query(kind):
                found.last().remove()

    def clear(self) -> None:
        """Begin an empty conversation."""
        self.remove_children()
        self.mount(Welcome(self._model_label))
        self.anchor()

    def _leave_welcome(self) -> None:
        self.query(Welcome).remove()

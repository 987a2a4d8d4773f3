"""The conversation: messages from top to bottom, following the newest.

Only the last of a long chat are widgets: each one costs time at every key, resize and change of focus. The others come
when the person scrolls up to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.chats.tree import StoredMessage
from tui.widgets.message_view import MessageView, Note, UserMessage
from tui.widgets.reply_message import ReplyMessage
from tui.widgets.welcome import Welcome
from tui.words import words

WINDOW = 40
"""Messages that are mounted at first, and with every step upwards."""
_MOST = 3 * WINDOW


class Older(Static):
    """Says how many messages are above."""


class Conversation(VerticalScroll, can_focus=False):
    """Scrolls by itself until the person scrolls up.

    Args:
        version_of: which of how many versions a message is.
    """

    def __init__(self, model_label: str, version_of: Callable[[StoredMessage], tuple[int, int]]) -> None:
        super().__init__(id="conversation")
        self._model_label = model_label
        self._version_of = version_of
        self._above: list[StoredMessage] = []
        self._folded = True
        self._loading_older = False

    def compose(self) -> ComposeResult:
        # As high as the window at least: an anchored view would push less than that to its lower edge.
        with Vertical(id="messages"):
            yield Welcome(self._model_label)

    def on_mount(self) -> None:
        self.anchor()

    def name_model(self, label: str) -> None:
        """Another model answers from here on."""
        self._model_label = label

    @property
    def _messages(self) -> Vertical:
        return self.query_one("#messages", Vertical)

    @property
    def views(self) -> list[MessageView]:
        """The mounted messages, from top to bottom."""
        return list(self._messages.query_children(MessageView))

    def show(self, path: Sequence[StoredMessage]) -> None:
        """Show these messages, the end of them first."""
        self._above = list(path[:-WINDOW])
        self._messages.remove_children()
        views = [self._view(message) for message in path[-WINDOW:]]
        self._messages.mount_all([*self._older_note(), *views] or [Welcome(self._model_label)])
        self.anchor()

    def add(self, question: StoredMessage, reply: StoredMessage) -> ReplyMessage:
        """Show a question, and the place of its answer."""
        self._leave_welcome()
        self.leave_oldest()
        view = self._reply(reply)
        self._messages.mount_all([UserMessage(question, self._version_of(question)), view])
        self.anchor()
        return view

    def add_note(self, text: str) -> None:
        """Say something between the messages."""
        self._leave_welcome()
        self._messages.mount(Note(text))

    def reply_view(self, message: StoredMessage) -> ReplyMessage | None:
        """The widget of a reply, if it is mounted: the newest, while an older one is still being taken down."""
        views = (view for view in reversed(self.views) if isinstance(view, ReplyMessage))
        return next((view for view in views if view.message is message), None)

    def fold_thoughts(self) -> None:
        """Show the thoughts of every reply, or hide them."""
        self._folded = not self._folded
        for view in self._messages.query_children(ReplyMessage):
            view.fold(self._folded)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value <= 0 < old_value:
            self.load_older()

    def load_older(self) -> None:
        """Mount the next messages above, and stay at the line that is being read."""
        if self._loading_older or not self._above:
            return
        self._loading_older = True
        begin = max(len(self._above) - WINDOW, 0)
        views = [self._view(message) for message in self._above[begin:]]
        del self._above[begin:]
        first = self.views[0] if self.views else None
        self._messages.query_children(Older).remove()
        self._messages.mount_all([*self._older_note(), *views], before=0)
        self.release_anchor()
        self.call_after_refresh(self._stay_at, first)

    def _stay_at(self, view: MessageView | None) -> None:
        if view is not None and view.is_attached:
            self.scroll_to(y=max(view.virtual_region.y - 1, 1), animate=False, force=True)
        self._loading_older = False

    def _view(self, message: StoredMessage) -> MessageView:
        if message.role == "user":
            return UserMessage(message, self._version_of(message))
        return self._reply(message)

    def _reply(self, message: StoredMessage) -> ReplyMessage:
        width, label = self.scrollable_content_region.width, message.model or self._model_label
        return ReplyMessage(label, message, width=width, version=self._version_of(message), folded=self._folded)

    def _older_note(self) -> list[Static]:
        if not self._above:
            return []
        return [Older(Content(words().older.format(count=len(self._above))), classes="message note")]

    def leave_oldest(self) -> None:
        """Take down what is far above, where much of it has been read or the chat has grown long while it was open."""
        views = self.views
        if len(views) <= _MOST:
            return
        leaving = views[:-WINDOW]
        self._above += [view.message for view in leaving]
        for child in list(self._messages.children):
            if child is views[-WINDOW]:
                break
            child.remove()
        self._messages.mount_all(self._older_note(), before=0)

    def _leave_welcome(self) -> None:
        self._messages.query_children(Welcome).remove()

"""The chat that is on the screen: its tree, and the file behind it that is never far behind.

A chat that cannot be saved goes on all the same, in memory; `trouble` says why.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from configs.errors import ConfigError
from runtime.engine import Sampling
from tui.chats.store import Chat, ChatStore
from tui.chats.tree import ChatTree, State, StoredMessage, title_of
from tui.markdown.thinking import take_apart

if TYPE_CHECKING:
    from configs.prompt import Message

_SAVE_EVERY_S = 0.5

T = TypeVar("T")


class ChatKeeper:
    """One chat at a time; it gets its place in the file with its first message."""

    def __init__(self, store: ChatStore, *, model: str, system: str | None, sampling: Sampling) -> None:
        self.store = store
        self.model = model
        self.system = system
        self.sampling = sampling
        self.tree = ChatTree()
        self.chat: int | None = None
        self.trouble = ""
        """Why the newest change is not in the file; empty if it is."""
        self._reply: StoredMessage | None = None
        self._saved_at = 0.0
        self._unsaved_id = -1

    def close(self) -> None:
        """Close the file; a reply that had not ended stays as far as it came."""
        self.settle("stopped")
        self.store.close()

    def new(self) -> None:
        """Begin an empty chat with the same settings."""
        self.settle("stopped")
        self.tree, self.chat = ChatTree(), None

    def open(self, chat: Chat) -> None:
        """Go on with a chat, under its own settings.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        self.settle("stopped")
        self.tree = self.store.tree(chat.id)
        self.chat, self.system, self.sampling = chat.id, chat.system, chat.sampling

    def set(self, system: str | None, sampling: Sampling) -> None:
        """Change the settings of this chat from here on."""
        self.system, self.sampling = system, sampling
        if self.chat is not None:
            chat = self.chat
            self._try(lambda: self.store.save_settings(chat, system, sampling), None)

    def ask(self, text: str, *, instead_of: int | None = None) -> StoredMessage:
        """Add a question below the branch that is shown, or as another version of one; returns its reply."""
        parent = self.tree.leaf if instead_of is None else self.tree.messages[instead_of].parent
        if self.chat is None:
            self.chat = self._try(
                lambda: self.store.add_chat(title_of(text), self.model, self.system, self.sampling), None
            )
        question = self._add(parent, "user", text, "done")
        return self._begin(self._add(question.id, "assistant", "", "writing"))

    def answer_again(self, reply: int) -> StoredMessage:
        """Add another version of a reply."""
        return self._begin(self._add(self.tree.messages[reply].parent, "assistant", "", "writing"))

    def go_on(self, reply: int) -> StoredMessage:
        """Let a reply that has ended grow again."""
        message = self.tree.messages[reply]
        message.state, message.foot = "writing", ""
        return self._begin(message)

    def grow(self, text: str) -> None:
        """The reply is `text` by now; at most half a second of it is not in the file."""
        if self._reply is not None:
            self._reply.content = text
            if time.monotonic() - self._saved_at >= _SAVE_EVERY_S:
                self._save(self._reply)

    def settle(self, state: State, foot: str = "") -> None:
        """The reply has ended."""
        if self._reply is not None:
            self._reply.state, self._reply.foot = state, foot
            self._save(self._reply)
            self._reply = None

    def show(self, message: int) -> None:
        """Show the branch that goes through a message."""
        self.tree.show(message)
        if self.chat is not None and self.tree.leaf is not None:
            chat, leaf = self.chat, self.tree.leaf
            self._try(lambda: self.store.show(chat, leaf), None)

    def take_back(self, reply: StoredMessage) -> None:
        """Forget a question that was never asked, and the place of its one reply."""
        self._reply = None
        question = self.tree.messages[reply.parent or 0]
        if question.id > 0:
            self._try(lambda: self.store.delete_message(question.id), None)
        self.tree.remove(reply.id)
        self.tree.remove(question.id)
        self.tree.leaf = question.parent
        if others := self.tree.below(question.parent):  # it was to replace one of them
            self.show(others[-1])

    def rename(self, title: str) -> None:
        """Give the chat a title, if it has a place in the file."""
        if self.chat is not None:
            chat = self.chat
            self._try(lambda: self.store.rename(chat, title), None)

    def preference(self, name: str) -> str | None:
        """What the person chose for every chat; None if nothing."""
        return self._try(lambda: self.store.preference(name), None)

    def prefer(self, name: str, value: str) -> None:
        """Remember a choice for every chat."""
        self._try(lambda: self.store.set_preference(name, value), None)

    def prompts(self) -> list[str]:
        """What was asked before, in any chat, oldest first."""
        return self._try(self.store.prompts, [])

    def stored_chat(self) -> Chat | None:
        """What the file knows of this chat; None if it was never written, or has been deleted."""
        if self.chat is None:
            return None
        try:
            return self.store.chat(self.chat)
        except ConfigError:
            return None

    def history(self, before: int | None = None) -> list[Message]:
        """The finished turns before a message (default: all), as the model is to see them.

        Thoughts are left out, and so are questions without a reply.
        """
        messages: list[Message] = []
        path = self.tree.path() if before is None else self.tree.before(before)
        for question, reply in zip(path[::2], path[1::2], strict=False):
            if answer := take_apart(reply.content).answer.strip():
                messages.append({"role": "user", "content": question.content})
                messages.append({"role": "assistant", "content": answer})
        return messages

    def _begin(self, reply: StoredMessage) -> StoredMessage:
        self._reply = reply
        self._saved_at = time.monotonic()
        return reply

    def _add(self, parent: int | None, role: str, content: str, state: State) -> StoredMessage:
        chat, model = self.chat, self.model if role == "assistant" else ""
        message = None
        if chat is not None and (parent is None or parent > 0):
            message = self._try(lambda: self.store.add_message(chat, parent, role, content, state, model), None)  # type: ignore[arg-type]
        if message is None:
            message = StoredMessage(self._unsaved_id, parent, role, content, state, created=time.time(), model=model)  # type: ignore[arg-type]
            self._unsaved_id -= 1
        self.tree.add(message)
        self.tree.leaf = message.id
        return message

    def _save(self, message: StoredMessage) -> None:
        self._saved_at = time.monotonic()
        if message.id > 0:
            self._try(lambda: self.store.save_message(message), None)

    def _try(self, write: Callable[[], T], otherwise: T) -> T:
        """Write, or note the trouble."""
        try:
            done = write()
        except sqlite3.Error as error:
            self.trouble = str(error)
            return otherwise
        self.trouble = ""
        return done

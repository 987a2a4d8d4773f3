"""One chat as a tree: an edited question and a regenerated reply are siblings of what they replace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

State = Literal["writing", "done", "stopped", "cut", "failed"]
"""`writing` only in the chat that is open, and in the file of a program that was killed."""
STATES: dict[str, State] = {"stop": "done", "cancelled": "stopped", "length": "cut"}
"""What an engine's reason for the end of a reply means for its message."""


@dataclass(slots=True)
class StoredMessage:
    """One message of one version of the conversation."""

    id: int
    parent: int | None
    role: Literal["user", "assistant"]
    content: str
    state: State = "done"
    foot: str = ""
    """What a failure said."""
    created: float = 0.0
    """Seconds since 1970, UTC."""
    model: str = ""
    """Whose reply it is; empty for questions, and where nobody knows any more."""


@dataclass(slots=True)
class ChatTree:
    """All messages of a chat, and the newest message of the branch that is shown."""

    messages: dict[int, StoredMessage] = field(default_factory=dict)
    leaf: int | None = None
    _children: dict[int | None, list[int]] = field(default_factory=dict)

    def add(self, message: StoredMessage) -> None:
        """Take a message whose parent is already here."""
        self.messages[message.id] = message
        self._children.setdefault(message.parent, []).append(message.id)

    def remove(self, message: int) -> None:
        """Forget a message that has none below it."""
        self._children[self.messages.pop(message).parent].remove(message)

    def path(self, leaf: int | None = None) -> list[StoredMessage]:
        """The messages from the first to `leaf` (default: of the branch that is shown)."""
        return list(self._upwards(self.leaf if leaf is None else leaf))[::-1]

    def before(self, message: int) -> list[StoredMessage]:
        """The messages that come before one."""
        return list(self._upwards(self.messages[message].parent))[::-1]

    def versions(self, message: int) -> list[int]:
        """The message and its siblings, oldest first."""
        return self._children[self.messages[message].parent]

    def below(self, message: int | None) -> list[int]:
        """The messages that follow one, or begin the chat: versions of each other, oldest first."""
        return self._children.get(message, [])

    def show(self, message: int) -> None:
        """Show the branch that goes through a message, down to the newest below it."""
        while below := self._children.get(message):
            message = below[-1]
        self.leaf = message

    def _upwards(self, message: int | None) -> Iterator[StoredMessage]:
        while message is not None:
            yield self.messages[message]
            message = self.messages[message].parent


def title_of(text: str, cells: int = 60) -> str:
    """A chat's title from its first message: the first line with words, not too long."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= cells else line[: cells - 1] + "…"

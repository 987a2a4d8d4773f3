"""What can be done to the messages that are there: select, edit, ask again, go on, choose a version, copy."""

from __future__ import annotations

import os
from collections.abc import Mapping

from textual import on

from tui.chats.tree import StoredMessage
from tui.clipboard import copy, last_code_block
from tui.screens.talk import TalkScreen
from tui.widgets.message_view import MessageView
from tui.widgets.prompt_input import PromptInput
from tui.words import words


class BranchScreen(TalkScreen):
    """A conversation of which every message can have other versions."""

    _editing: int | None = None
    """The question that Enter is going to replace."""

    def _edit(self, argument: str) -> None:
        questions = [message for message in self.keeper.tree.path() if message.role == "user"]
        number = int(argument) if argument.isdecimal() else len(questions)
        if (argument and not argument.isdecimal()) or not 0 < number <= len(questions):
            self._hint(words().no_message.format(number=argument or 1))
        else:
            self._begin_edit(questions[number - 1], number)

    def _begin_edit(self, question: StoredMessage, number: int) -> None:
        self._editing = question.id
        self._prompt.write(question.content)
        self._prompt.focus()
        self._hint(words().editing.format(number=number), seconds=0)

    def action_regenerate(self) -> None:
        """Another version of the last reply."""
        self._regenerate(self._last("assistant"))

    def action_continue(self) -> None:
        """More of the last reply."""
        last = self._last("assistant")
        if self._replying:
            self._hint(words().still_writing)
        elif last is None or not last.content.strip():
            self._hint(words().no_reply)
        else:
            self._go_on(last.id)

    def _copy(self, what: str) -> None:
        self._copy_message(self._last("assistant"), code=what == "code")

    @on(PromptInput.Left)
    def select_last(self) -> None:
        """Select the newest message."""
        if views := self._conversation.views:
            views[-1].focus()
            self._hint(words().selected_keys)

    @on(MessageView.Typed)
    def return_to_prompt(self, event: MessageView.Typed) -> None:
        """Whoever types wants to write."""
        self.action_leave_selection()
        self._prompt.insert(event.character)

    @on(PromptInput.VersionAsked)
    def change_last_version(self, event: PromptInput.VersionAsked) -> None:
        self._change_version(self._last("assistant"), event.step)

    def action_select_message(self, step: int) -> None:
        """Select the message above or below; below the last is the prompt."""
        views = self._conversation.views
        at = views.index(self.focused) + step if self.focused in views else len(views)
        if at >= len(views):
            self.action_leave_selection()
        elif at >= 0:
            views[at].focus()
        else:
            self._conversation.load_older()

    def action_leave_selection(self) -> None:
        self._prompt.focus()
        self._end_hint()

    def action_change_version(self, step: int) -> None:
        self._change_version(self._selected(), step, select=True)

    def action_edit_selected(self) -> None:
        """Edit the selected question, or the one that the selected reply answers."""
        message = self._selected()
        if message is None:
            return
        question = message if message.role == "user" else self.keeper.tree.messages[message.parent or 0]
        path = [other.id for other in self.keeper.tree.path() if other.role == "user"]
        self._begin_edit(question, path.index(question.id) + 1)

    def action_regenerate_selected(self) -> None:
        message = self._selected()
        if message is not None:
            replies = [other for other in self.keeper.tree.path() if other.parent == message.id]
            self._prompt.focus()
            self._regenerate(message if message.role == "assistant" else next(iter(replies), None))

    def action_copy_selected(self) -> None:
        self._copy_message(self._selected(), code=False)

    def action_copy_code_selected(self) -> None:
        self._copy_message(self._selected(), code=True)

    def _selected(self) -> StoredMessage | None:
        return self.focused.message if isinstance(self.focused, MessageView) else None

    def _last(self, role: str) -> StoredMessage | None:
        return next((message for message in reversed(self.keeper.tree.path()) if message.role == role), None)

    def _regenerate(self, reply: StoredMessage | None) -> None:
        if self._replying:
            self._hint(words().still_writing)
        elif reply is None:
            self._hint(words().no_reply)
        else:
            self._ask_again(reply.id)
            self._offer_versions()

    def _offer_versions(self) -> None:
        """`[` and `]` in the empty prompt choose between versions now."""
        self._prompt.versions_asked = True

    def _change_version(self, message: StoredMessage | None, step: int, *, select: bool = False) -> None:
        if message is None or self._replying:
            self._hint(words().still_writing if self._replying else words().no_reply)
            return
        versions = self.keeper.tree.versions(message.id)
        at = min(max(versions.index(message.id) + step, 0), len(versions) - 1)
        if versions[at] != message.id:
            self.keeper.show(versions[at])
            self._conversation.show(self.keeper.tree.path())
        self._hint(words().version_keys.format(at=at + 1, count=len(versions)))
        if select:
            self.call_after_refresh(self._select, versions[at])

    def _select(self, message: int) -> None:
        for view in self._conversation.views:
            if view.message.id == message:
                view.focus()

    def _environment(self) -> Mapping[str, str]:
        """A browser is not in the tmux that the server may have been started in."""
        return {} if self.app.is_web else os.environ

    def _copy_message(self, message: StoredMessage | None, *, code: bool) -> None:
        text = message.content if message is not None else ""
        found = last_code_block(text) if code else text
        if not found:
            self._hint(words().nothing_to_copy)
        else:
            self._hint(copy(found, self.keeper.store.folder, self.app.copy_to_clipboard, self._environment()))

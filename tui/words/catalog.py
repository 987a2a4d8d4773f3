"""What there is to say. A language that lacks a sentence does not type-check."""

from __future__ import annotations

from dataclasses import dataclass

from tui.words.exam_catalog import ExamWords
from tui.words.rows import Row as Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The sentences of one language; `{names}` are filled in by who says them."""

    you: str
    prompt_placeholder: str
    welcome: str
    keys_hint: tuple[Row, ...]

    # What the model does
    reading: str
    loading: str
    waiting_for_model: str
    load_given_up: str
    not_loaded: str
    ready: str
    writing: str
    still_writing: str
    context: str

    # How a reply ended
    stopped: str
    stopped_unsaid: str
    empty_reply: str
    cut: str
    tokens: str
    speed: str
    first_word: str
    thinking: str
    thought: str
    thought_open: str

    # The conversation
    dropped: str
    will_drop: str
    one_turn: str
    many_turns: str
    older: str
    version: str
    version_keys: str
    selected_keys: str
    editing: str
    no_reply: str
    no_message: str
    not_saved: str
    pasted: str
    paste_held: str

    # Commands
    how_to_quit: str
    no_command: str
    copied: str
    copied_tmux: str
    nothing_to_copy: str
    system_is: str
    system_default: str
    sampling_is: str
    sampling_names: str
    adapters_are: str
    no_adapters: str
    exported: str
    read_failed: str
    needs_model: str
    no_chat: str
    renamed: str

    # Screens
    help_title: str
    close_hint: str
    help_keys: tuple[Row, ...]
    command_help: dict[str, str]
    palette: dict[str, Row]
    chats_title: str
    chats_search: str
    chats_none: str
    chats_keys: str
    delete_question: str
    confirm_keys: str
    rename_title: str
    models_title: str
    models_search: str
    models_keys: str
    models_none: str
    models_reading: str
    switching: str
    switched: str
    switched_adapters: str
    switch_failed: str
    switch_given_up: str
    still_there: str
    raw_title: str

    exam: ExamWords

    def turns(self, count: int) -> str:
        """Say how many turns: `1 turn`, `2 turns`."""
        return (self.one_turn if count == 1 else self.many_turns).format(count=count)

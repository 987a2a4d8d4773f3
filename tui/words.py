"""Every sentence the interface says, in one place."""

from __future__ import annotations

APP_NAME = "lora2edge"
YOU = "You"
PROMPT_PLACEHOLDER = "Ask something"
WELCOME = "Ask in any language. Nothing leaves this machine."
KEYS_HINT = (("Enter", "send"), ("Ctrl+J", "new line"), ("Esc", "stop"), ("F1", "help"), ("Ctrl+Q", "quit"))

READING = "reading the prompt"
LOADING = "loading"
WAITING_FOR_MODEL = "waiting for the model"
LOAD_GIVEN_UP = "Loading was given up. Send a message to load the model again, or press Ctrl+Q to leave."
NOT_LOADED = "no model loaded"
READY = "ready"
WRITING = "writing"
STILL_WRITING = "A reply is still being written: Esc stops it."
STOPPED = "stopped"
STOPPED_UNSAID = "stopped before the first word: the model will not remember this message"
EMPTY_REPLY = "(an empty reply)"
CUT = "cut at {tokens} tokens (--max-tokens)"
SPEED = "{tokens} tokens, {speed:.1f} tokens/s"
TOKENS = "{tokens} tokens"
DROPPED = "The oldest {turns} no longer fit the context: the model does not see them any more."
HOW_TO_QUIT = "Ctrl+Q quits."
NO_COMMAND = "There is no command /{command}: /help lists them, //{command} is sent as text."

HELP_TITLE = "Keys and commands"
HELP_CLOSE = "Esc closes"
HELP_ROWS = (
    ("Enter", "send the message"),
    ("Ctrl+J", "new line"),
    ("Esc", "stop the reply, or the loading"),
    ("Ctrl+L   /clear", "new conversation"),
    ("PgUp  PgDn", "scroll the conversation"),
    ("Ctrl+Home  Ctrl+End", "its beginning, its end"),
    ("Ctrl+C", "copy what the mouse selected"),
    ("Ctrl+Z  Ctrl+Y", "undo, redo"),
    ("Ctrl+P", "all commands, themes"),
    ("F1   /help", "this help"),
    ("Ctrl+Q   /quit", "quit"),
)

COMMAND_NEW = ("New conversation", "Forget what was said and begin again")
COMMAND_STOP = ("Stop", "Stop the reply, or give up loading the model")
COMMAND_THEME = ("Theme", "Choose other colours")
COMMAND_HELP = ("Help", "Show keys and commands")
COMMAND_QUIT = ("Quit", "Leave the chat")


def turns(count: int) -> str:
    """Say how many turns: `1 turn`, `2 turns`."""
    return "1 turn" if count == 1 else f"{count} turns"

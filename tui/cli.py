"""The `tui` command: a person in front of a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs import errors
from runtime.arguments import add_model_flags, add_sampling_flags, whole
from tui.words import LANGUAGES

CHAT_HELP = "Chat with a GGUF model in the terminal; plain text when a pipe is on either side."


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = errors.Parser(prog="tui", description="Talk to a local model in the terminal, offline.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    chat = commands.add_parser("chat", help=CHAT_HELP, description=CHAT_HELP)
    add_model_flags(chat)
    chat.add_argument("--system", metavar="TEXT", help="system prompt (default: the prompt format's own)")
    chat.add_argument(
        "--resume", nargs="?", type=whole(1), const=0, metavar="ID", help="go on with the newest chat, or with chat ID"
    )
    chat.add_argument("--lang", choices=LANGUAGES, help="language of the interface (default: the locale's)")
    chat.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the chats are kept (default: TUI_DATA_DIR, or the platform's)",
    )
    chat.add_argument("--no-tui", action="store_true", help="plain text instead of the screen")
    add_sampling_flags(chat)
    errors.common_flags(chat)
    chat.set_defaults(handler=chat_command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return errors.run(build_parser(), argv)


def chat_command(args: argparse.Namespace) -> int:
    """Chat, on a screen or as plain text."""
    from tui.launch import chat
    from tui.settings import chat_settings, model_loader

    settings = chat_settings(args)
    return chat(settings, model_loader(settings), no_tui=args.no_tui)

"""The `tui` command: a person in front of a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs import errors
from runtime.arguments import (
    adapter,
    add_answer_flags,
    add_loading_flags,
    add_model_flags,
    add_sampling_flags,
    whole,
)
from tui.compare.arguments import AddAdapter, AddModel
from tui.words import LANGUAGES

PREDICT_HELP = (
    "Answer a question sheet on a screen: the run, the journal and the CSV are those of `runtime predict`; "
    "plain narration when a pipe is on either side."
)
COMPARE_HELP = "Ask two models the same, a question or a whole sheet, and see where they disagree."
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
    chat.add_argument("-p", "--prompt", metavar="TEXT", help="say this first")
    chat.add_argument("--web", action="store_true", help="in a browser of this machine: prints the address to open")
    chat.add_argument("--port", type=whole(0, 65535), default=0, metavar="N", help="for --web; default: a free one")
    _add_screen_flags(chat)
    add_sampling_flags(chat)
    errors.common_flags(chat)
    chat.set_defaults(handler=chat_command)
    _add_predict(commands.add_parser("predict", help=PREDICT_HELP, description=PREDICT_HELP))
    _add_compare(commands)
    return parser


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sheet", type=Path, nargs="?", metavar="SHEET", help="without one you choose on the screen")
    parser.add_argument(
        "--output", type=Path, metavar="CSV", help="where the answers go (default: SHEET.answers.csv in this folder)"
    )
    add_answer_flags(parser)
    add_model_flags(parser)
    _add_screen_flags(parser)
    errors.common_flags(parser)
    parser.set_defaults(handler=predict_command)


def _add_screen_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of every command that has a screen."""
    parser.add_argument("--lang", choices=LANGUAGES, help="language of the interface (default: the locale's)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where chats and choices are kept (default: TUI_DATA_DIR, or the platform's)",
    )
    parser.add_argument("--no-tui", action="store_true", help="plain text instead of the screen")


def _add_compare(commands: argparse._SubParsersAction[errors.Parser]) -> None:
    compare = commands.add_parser("compare", help=COMPARE_HELP, description=COMPARE_HELP)
    compare.add_argument("sheet", nargs="?", type=Path, metavar="SHEET", help="questions to answer; without: texts")
    group = compare.add_argument_group("models")
    group.add_argument(
        "--model", dest="models", action=AddModel, type=Path, default=[], metavar="M.gguf", help="one of the two"
    )
    group.add_argument(
        "--adapter", action=AddAdapter, type=adapter, metavar="L.gguf[=WEIGHT]", help="a LoRA for the --model before it"
    )
    add_loading_flags(group)
    compare.add_argument("--system", metavar="TEXT", help="system prompt (default: each prompt format's own)")
    compare.add_argument("-p", "--prompt", metavar="TEXT", help="ask this first")
    compare.add_argument("--sheet-columns", default="", metavar="ROLE=COLUMN,…", help="e.g. passage=文章,choice1=甲")
    compare.add_argument("--encoding", default="", metavar="NAME", help="of a csv, tsv or json; default: found out")
    compare.add_argument("--json", action="store_true", help="the result as JSON on standard output, without a screen")
    _add_screen_flags(compare)
    add_sampling_flags(compare)
    errors.common_flags(compare)
    compare.set_defaults(handler=compare_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return errors.run(build_parser(), argv)


def chat_command(args: argparse.Namespace) -> int:
    """Chat, on a screen or as plain text."""
    from tui.launch import chat
    from tui.settings import Models, chat_settings

    settings = chat_settings(args)
    if args.web:
        from tui.web.launch import chat_in_browser

        return chat_in_browser(settings, Models(settings.options), args.port)
    return chat(settings, Models(settings.options), no_tui=args.no_tui)


def predict_command(args: argparse.Namespace) -> int:
    """Answer a question sheet, on a screen or with plain narration."""
    from tui.exam.settings import exam_settings
    from tui.launch import predict

    return predict(exam_settings(args), no_tui=args.no_tui)


def compare_command(args: argparse.Namespace) -> int:
    """Compare two models, on a screen or as plain text."""
    from tui.compare.settings import compare_settings
    from tui.compare_launch import compare

    return compare(compare_settings(args), no_tui=args.no_tui, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(main())

"""The chat on a scripted engine: for pilot tests, for tests on a real terminal, for pictures.

`python -m tests.tui.scripted --help` opens it by hand; none of this is part of the product.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from configs import errors
from configs.errors import ToolError
from runtime.engine import Engine, ModelOptions, Sampling
from runtime.scripted import ScriptedEngine
from tui.app import ChatApp
from tui.chats.folder import data_folder
from tui.launch import chat
from tui.opening import open_keeper
from tui.screens.chat import ChatScreen
from tui.settings import ChatSettings, Load, Models
from tui.worker import ChatWorker

MODEL = Path("scripted.gguf")


class GatedEngine(ScriptedEngine):
    """Loads until its gate is opened."""

    def __init__(self, replies: list[str]) -> None:
        super().__init__(replies)
        self.gate = threading.Event()

    def load(self, options: ModelOptions, *, on_progress: Callable[[float], bool] | None = None) -> ScriptedEngine:
        while not self.gate.wait(0.01):
            if on_progress and not on_progress(0.4):
                raise ToolError("the load was given up")
        return self


def models(engine: ScriptedEngine, options: ModelOptions, *, error: Exception | None = None) -> Models:
    """One model, whichever is asked for."""
    load = loader(engine, error=error)
    return Models(options, lambda _, on_progress: load(on_progress))


def loader(engine: ScriptedEngine, *, error: Exception | None = None) -> Load:
    """Stand in for the loading of a GGUF file."""

    def load(on_progress: Callable[[float], bool]) -> Engine:
        if error is not None:
            raise error
        return engine.load(ModelOptions(model=MODEL), on_progress=on_progress)

    return load


def chat_app(
    engine: ScriptedEngine,
    folder: Path,
    *,
    system: str | None = None,
    max_tokens: int = 400,
    error: Exception | None = None,
    resume: int | None = None,
    model: str = "scripted",
) -> ChatApp:
    """Return an app that is ready to run on `engine`, with its chats in `folder`."""
    settings = ChatSettings(
        options=ModelOptions(model=Path(f"{model}.gguf")),
        sampling=Sampling(max_tokens=max_tokens),
        system=system,
        resume=resume,
        data_folder=folder,
    )
    return ChatApp(ChatWorker(models(engine, settings.options, error=error)), open_keeper(settings))


def main(argv: Sequence[str] | None = None) -> int:
    """Open the chat the way the product does."""
    parser = argparse.ArgumentParser(prog="scripted")
    parser.add_argument("--reply", action="append", default=[])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--tokens-per-second", type=float, default=0)
    parser.add_argument("--load-seconds", type=float, default=0)
    parser.add_argument("--prefill-seconds", type=float, default=0)
    parser.add_argument("--error", default="")
    parser.add_argument("--load-error", default="")
    parser.add_argument("--context-size", type=int, default=4096)
    parser.add_argument("--crash", action="store_true", help="fail inside the app")
    parser.add_argument("--resume", nargs="?", type=int, const=0)
    parser.add_argument("-p", "--prompt")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--lang", default="en")
    parser.add_argument("--no-tui", action="store_true")
    errors.common_flags(parser)
    parser.set_defaults(handler=_chat)
    return errors.run(parser, argv)


def _chat(args: argparse.Namespace) -> int:
    engine = ScriptedEngine(
        [reply * args.repeat for reply in args.reply or ["答案是 2。"]],
        tokens_per_second=args.tokens_per_second,
        load_seconds=args.load_seconds,
        prefill_seconds=args.prefill_seconds,
        error=args.error,
        context_size=args.context_size,
    )
    settings = ChatSettings(
        options=ModelOptions(model=MODEL),
        sampling=Sampling(max_tokens=10_000),
        prompt=args.prompt,
        resume=args.resume,
        language=args.lang,
        data_folder=data_folder(args.data_dir),
    )
    if args.crash:
        ChatScreen.on_mount = lambda self: 1 / 0  # type: ignore[method-assign]
    error = errors.ConfigError(args.load_error) if args.load_error else None
    return chat(settings, models(engine, settings.options, error=error), no_tui=args.no_tui)


if __name__ == "__main__":
    sys.exit(main())

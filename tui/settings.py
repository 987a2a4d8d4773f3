"""What a chat was asked to be: the command line, checked and turned into nouns."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from configs.errors import ConfigError
from runtime.arguments import model_options, sampling
from runtime.engine import Engine, ModelOptions, Sampling, load_engine
from tui.chats.folder import data_folder
from tui.words import language_of

Load = Callable[[Callable[[float], bool]], Engine]
"""Loads the model, reporting 0..1; the callback's False gives the load up."""

GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """One chat: the model, how it draws its words, and what it is told first."""

    options: ModelOptions
    sampling: Sampling
    system: str | None = None
    """None takes the prompt format's own system text."""
    prompt: str | None = None
    """What to say first."""
    resume: int | None = None
    """The chat to go on with; 0 is the newest, None begins a new one."""
    language: str = "en"
    """One of `words.LANGUAGES`."""
    data_folder: Path = field(default_factory=data_folder)

    @property
    def model_label(self) -> str:
        """The model's name as people know it: the file's, without its ending."""
        return self.options.model.name.removesuffix(".gguf")


def chat_settings(args: argparse.Namespace) -> ChatSettings:
    """Read the parsed command line.

    Raises:
        ConfigError: a file is missing or not a GGUF, or a text is empty or not UTF-8.
    """
    for path in (args.model, *(path for path, _ in args.adapter)):
        check_gguf(path)
    for flag, text in (("--system", args.system), ("--prompt", args.prompt), *(("--stop", text) for text in args.stop)):
        check_text(flag, text or "")
    return ChatSettings(
        options=model_options(args),
        sampling=sampling(args),
        system=args.system,
        prompt=args.prompt,
        resume=args.resume,
        language=args.lang or language_of(),
        data_folder=data_folder(args.data_dir),
    )


def model_loader(settings: ChatSettings) -> Load:
    """Return what loads the model of `settings`."""

    def load(on_progress: Callable[[float], bool]) -> Engine:
        return load_engine(settings.options, on_progress=on_progress)

    return load


def check_gguf(path: Path) -> None:
    """Catch the commonest slips before the screen opens; loading checks the rest.

    Raises:
        ConfigError: the path leads nowhere, to a folder, or to something else.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name the GGUF file")
    with path.open("rb") as file:
        if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise ConfigError(f"{path} is not a GGUF file", hint="`exporter merge --format gguf` makes one")


def check_text(flag: str, text: str) -> None:
    """Refuse what the shell passed on in another encoding (it arrives as lone surrogates).

    Raises:
        ConfigError: the text is not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the text of {flag} is not UTF-8") from None

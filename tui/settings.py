"""What a chat was asked to be: the command line, checked and turned into nouns."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from configs.errors import ConfigError
from runtime.arguments import model_options, sampling
from runtime.engine import Engine, ModelOptions, Sampling, load_engine
from tui.chats.folder import data_folder
from tui.text import visible
from tui.words import language_of

Load = Callable[[Callable[[float], bool]], Engine]
"""Loads the model, reporting 0..1; the callback's False gives the load up."""

GGUF_MAGIC = b"GGUF"


def _load(options: ModelOptions, on_progress: Callable[[float], bool]) -> Engine:
    return load_engine(options, on_progress=on_progress)


def model_name(path: Path) -> str:
    """A model as people know it: its file's name without the ending, safe to show."""
    return visible(path.name).removesuffix(".gguf")


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
        return model_name(self.options.model)


def chat_settings(args: argparse.Namespace) -> ChatSettings:
    """Read the parsed command line.

    Raises:
        ConfigError: a file is missing or not a GGUF, or a text is empty or not UTF-8.
    """
    if args.port and not args.web:
        raise ConfigError("--port is for --web", hint="add --web, or leave --port out")
    if args.web and args.no_tui:
        raise ConfigError("--web and --no-tui exclude each other")
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


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a chat: the one to begin with, and what it takes to load another in its place.

    Args:
        load: what loads a model (a test's may play a script).
    """

    options: ModelOptions
    load: Callable[[ModelOptions, Callable[[float], bool]], Engine] = _load

    def first(self, on_progress: Callable[[float], bool]) -> Engine:
        """Load the model to begin with."""
        return self.load(self.options, on_progress)

    def other(self, path: Path) -> Load:
        """What loads another model, as the first one was loaded, but asked in the format that it carries itself.

        The format of the command line was chosen for another file: it is taken only where the file carries none.

        Raises:
            ConfigError: it is no GGUF.
        """
        check_gguf(path)
        given = replace(self.options, model=path, adapters=())
        own = replace(given, prompt_format="", question_format="")

        def load(on_progress: Callable[[float], bool]) -> Engine:
            try:
                return self.load(own, on_progress)
            except ConfigError:
                if given == own:
                    raise
            return self.load(given, on_progress)

        return load

    def fit_together(self, first: Path, second: Path) -> bool:
        """Whether the memory holds both files at once. Imports what the first frame must not wait for."""
        from runtime.compare import fit_together

        return fit_together([ModelOptions(model=first), ModelOptions(model=second)])


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

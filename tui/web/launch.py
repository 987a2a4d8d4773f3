"""`tui chat --web`: the model is loaded once, then the page is served until Ctrl+C."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from configs.errors import MachineError
from configs.progress import Progress, Shower
from tui.app import ChatApp
from tui.keys import read_keys, use_keys
from tui.opening import open_keeper
from tui.text import visible
from tui.web.shared import one_model
from tui.web.tab import Tab
from tui.words import choose
from tui.worker import ChatWorker

if TYPE_CHECKING:
    from runtime.engine import Engine
    from tui.settings import ChatSettings, Models

_LEAVE_WITHIN_S = 5.0


def chat_in_browser(settings: ChatSettings, models: Models, port: int) -> int:
    """Serve the chat and return the exit code.

    Raises:
        MachineError: aiohttp or textual-serve is not installed, or the port is taken.
        ToolError: the model could not be loaded.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise MachineError("the chat in a browser needs aiohttp", hint='pip install "lora2edge[web]"')
    from tui.web.server import static_folder

    static_folder()
    choose(settings.language)
    use_keys(read_keys(settings.data_folder))
    engine = _load(models, settings.model_label)
    try:
        return asyncio.run(_serve(settings, engine, port))
    finally:
        engine.close()


def opener(settings: ChatSettings, engine: Engine) -> Callable[[], Tab]:
    """What makes a tab's app: a chat of its own, on the engine of all."""

    def open_app() -> Tab:
        keeper = open_keeper(settings)
        worker = ChatWorker(one_model(settings.options, engine))

        return Tab(
            ChatApp(worker, keeper, settings.prompt),
            end_work=lambda: worker.close(_LEAVE_WITHIN_S),
            forget=keeper.close,
        )

    return open_app


async def _serve(settings: ChatSettings, engine: Engine, port: int) -> int:
    from tui.web.server import WebServer, static_folder

    server = WebServer(opener(settings, engine), static_folder())
    ended = asyncio.Event()
    code = 0

    def end(number: int) -> None:
        nonlocal code
        code = 128 + number
        ended.set()

    await server.start(port)
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C is a KeyboardInterrupt there
                loop.add_signal_handler(number, end, number)
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    sys.stderr.write("Open this address in a browser of this machine; who has it can chat. Ctrl+C ends.\n")
    try:
        await ended.wait()
    finally:
        await server.stop()
    return code


def _load(models: Models, label: str) -> Engine:
    bar = Shower(f"loading {visible(label)}")

    def show(share: float) -> bool:
        if sys.stderr.isatty():
            bar.show(Progress(round(100 * share), 100, "%"))
        return True

    engine = models.first(show)
    bar.finish()
    for note in engine.notes:
        sys.stderr.write(f"{visible(note)}\n")
    return engine

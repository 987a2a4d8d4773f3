"""The server of the page: on this machine alone, for who has the address alone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import secrets
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web
from rich.color import ColorSystem

from configs.errors import MachineError
from tui.web.driver import BrowserDriver, driver_to

if TYPE_CHECKING:
    from tui.house import HouseApp
    from tui.web.tab import Tab

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
MOST_TABS = 16
_SMALLEST, _LARGEST = 2, 1000  # cells
_MOST_BYTES = 4 << 20  # of a message: a paste
_HERE = Path(__file__).parent
_OWN_FILES = {"": "page.html", "page.css": "page.css", "page.js": "page.js"}
_HEADERS = {
    # xterm.js writes styles into the page; nothing else may come from anywhere but here.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class WebServer:
    """Serves one app a tab.

    Everything is below a path that is drawn anew for every run: it is the password. Another site that a browser shows
    knows it not, and is refused by the names it calls this server by, too.
    """

    def __init__(self, open_tab: Callable[[], Tab], static: Path) -> None:
        self.secret = secrets.token_urlsafe(24)
        self.port = 0
        self._open = open_tab
        self._tabs: set[asyncio.Task[None]] = set()
        self._application = web.Application(middlewares=[web.middleware(partial(self._guard))])
        self._application.add_routes(
            [web.get(f"/{self.secret}/{path}", self._file(name)) for path, name in _OWN_FILES.items()]
        )
        self._application.router.add_static(f"/{self.secret}/static", static)
        self._application.router.add_get(f"/{self.secret}/socket", self._socket)
        self._runner = web.AppRunner(self._application, access_log=None)

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{HOST}:{self.port}/{self.secret}/"

    async def start(self, port: int) -> None:
        """Listen; port 0 takes any that is free.

        Raises:
            MachineError: the port is taken.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise MachineError(f"port {port} cannot be used: {error.strerror}", hint="--port names another") from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every tab."""
        for tab in list(self._tabs):
            tab.cancel()
        await asyncio.gather(*self._tabs, return_exceptions=True)
        await self._runner.cleanup()

    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse whoever calls this server by another name, or comes from another page."""
        names = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        origin = request.headers.get("Origin")
        if request.host not in names or (origin is not None and origin not in {f"http://{name}" for name in names}):
            raise web.HTTPForbidden(text="not from here")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def _file(self, name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.FileResponse(_HERE / name)

        return answer

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") is None:
            raise web.HTTPForbidden(text="not a page of this server")
        if len(self._tabs) >= MOST_TABS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_TABS} tabs are open")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=_MOST_BYTES)
        await socket.prepare(request)
        size = _size({name: request.query.get(name) for name in ("width", "height")})
        tab = asyncio.current_task()
        assert tab is not None
        self._tabs.add(tab)
        try:
            await self._hold(socket, size)
        finally:
            self._tabs.discard(tab)
            await socket.close()
        return socket

    async def _hold(self, socket: web.WebSocketResponse, size: tuple[int, int]) -> None:
        """Run the app of a tab until it is left, or the tab is closed."""
        painted: asyncio.Queue[bytes | None] = asyncio.Queue()
        held = self._open()
        app = held.app
        app.driver_class = driver_to(painted.put_nowait)
        app.own_process = False
        app.console._color_system = ColorSystem.TRUECOLOR  # whatever this process's own terminal has
        running = asyncio.create_task(app.run_async(size=size))
        running.add_done_callback(lambda _: painted.put_nowait(None))
        writing = asyncio.create_task(_write(painted, socket))
        reading = asyncio.create_task(_read(socket, app))
        try:
            await asyncio.wait([writing, reading], return_when=asyncio.FIRST_COMPLETED)
            app.exit()
            await asyncio.wait([running], timeout=5)
        finally:
            for task in (running, writing, reading):
                task.cancel()
            await asyncio.gather(running, writing, reading, return_exceptions=True)
            await asyncio.to_thread(held.end_work)
            held.forget()
            # Every app puts itself in the place of both while it runs; they end in another order than they began.
            if len(self._tabs) <= 1:
                sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        if app.failure is not None:
            logger.error("a tab has failed: %s", app.failure)


async def _write(painted: asyncio.Queue[bytes | None], socket: web.WebSocketResponse) -> None:
    """Send what is painted, several pieces at once where they have piled up."""
    while (data := await painted.get()) is not None:
        while not painted.empty() and (more := painted.get_nowait()) is not None:
            data += more
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(data)


async def _read(socket: web.WebSocketResponse, app: HouseApp) -> None:
    """Do what the tab says until it is closed; what it may not say is nothing."""
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        driver = app._driver
        try:
            kind, *data = json.loads(message.data)
        except (ValueError, TypeError):
            continue
        if kind == "ping" and data:
            await socket.send_json(["pong", str(data[0])])
        elif isinstance(driver, BrowserDriver):
            _do(driver, kind, data[0] if data else None)


def _do(driver: BrowserDriver, kind: object, data: Any) -> None:
    if kind == "stdin" and isinstance(data, str):
        driver.feed(data)
    elif kind == "resize" and isinstance(data, dict):
        driver.resize(*_size(data))
    elif kind in ("focus", "blur"):
        driver.focus(kind == "focus")


def _size(said: dict[str, Any]) -> tuple[int, int]:
    """Columns and rows, within what a screen can be."""
    found = []
    for name, usual in (("width", 80), ("height", 24)):
        try:
            found.append(min(max(int(said.get(name) or usual), _SMALLEST), _LARGEST))
        except (TypeError, ValueError):
            found.append(usual)
    return found[0], found[1]


def static_folder() -> Path:
    """The terminal for browsers, xterm.js, as textual-serve brings it.

    Raises:
        MachineError: it is not installed.
    """
    spec = importlib.util.find_spec("textual_serve")
    if spec is None or not spec.submodule_search_locations:
        raise MachineError("the chat in a browser needs textual-serve", hint='pip install "lora2edge[web]"')
    return Path(spec.submodule_search_locations[0]) / "static"

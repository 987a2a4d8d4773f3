"""The chat in a browser: one engine for all tabs, nobody else let in, nothing fetched from outside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError
from runtime.engine import ModelOptions, Sampling
from runtime.scripted import ScriptedEngine
from tests.tui.driving import text_of
from tui.chats.store import ChatStore
from tui.settings import ChatSettings

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")

from tui.web.launch import opener  # noqa: E402
from tui.web.server import MOST_TABS, WebServer, static_folder  # noqa: E402
from tui.web.shared import SharedEngine, one_model  # noqa: E402

_ESCAPE = re.compile(r"\x1b\[[0-9;?<>=$]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Tab:
    """One tab: what it was sent, without what only a terminal reads."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.seen = ""

    async def type(self, text: str) -> None:
        await self._socket.send_json(["stdin", text])

    async def resize(self, width: int, height: int) -> None:
        await self._socket.send_json(["resize", {"width": width, "height": height}])

    async def until(self, text: str) -> None:
        """Read until something was painted."""
        async with asyncio.timeout(30):
            while text not in _ESCAPE.sub("", self.seen):
                message = await self._socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, message
                self.seen += message.data.decode()

    async def closed(self) -> None:
        """Read to the end."""
        async with asyncio.timeout(30):
            while (await self._socket.receive()).type is aiohttp.WSMsgType.BINARY:
                pass


@asynccontextmanager
async def served(folder: Path, engine: ScriptedEngine) -> AsyncIterator[tuple[WebServer, Any]]:
    """A server on any free port, and a client for it."""
    options = ModelOptions(model=Path("scripted.gguf"))
    settings = ChatSettings(options=options, sampling=Sampling(), data_folder=folder)
    server = WebServer(opener(settings, engine), static_folder())  # type: ignore[arg-type]
    await server.start(0)
    async with aiohttp.ClientSession() as client:
        try:
            yield server, client
        finally:
            await server.stop()


def socket_of(server: WebServer) -> tuple[str, dict[str, str]]:
    """Address and headers, as the page's script has them."""
    return f"{server.url}socket?width=100&height=30", {"Origin": f"http://127.0.0.1:{server.port}"}


async def test_two_tabs_talk_to_one_engine_and_each_keeps_its_chat(tmp_path: Path) -> None:
    engine = ScriptedEngine(["答案一", "答案二"])
    async with served(tmp_path, engine) as (server, client):
        url, headers = socket_of(server)
        async with client.ws_connect(url, headers=headers) as one, client.ws_connect(url, headers=headers) as other:
            first, second = Tab(one), Tab(other)
            for tab, text, answer in ((first, "你好", "答案一"), (second, "問題 བོད", "答案二")):
                await tab.until("ready")
                await tab.type(text)
                await asyncio.sleep(0.2)
                await tab.type("\r")
                await tab.until(answer)
            await first.type("\x11")  # Ctrl+Q closes this tab alone
            await first.closed()
            await second.type("/help\r")
            await second.until("Keys and commands")
            await second.type("\x1b")  # a lone Esc is a key
            second.seen = ""
            await second.resize(60, 20)
            await second.until("Ask something")
    assert not engine.closed  # it is the server's
    assert [text_of(prompt).count("你好") for prompt in engine.prompts] == [1, 0]
    store = ChatStore(tmp_path)
    titles = {store.chat(number).title for number in (1, 2)}
    assert titles == {"你好", "問題 བོད"}


async def test_a_tab_that_is_closed_keeps_what_was_said(tmp_path: Path) -> None:
    engine = ScriptedEngine(["字" * 4000], tokens_per_second=200)
    async with served(tmp_path, engine) as (server, client):
        url, headers = socket_of(server)
        async with client.ws_connect(url, headers=headers) as socket:
            tab = Tab(socket)
            await tab.until("ready")
            await tab.type("x")
            await asyncio.sleep(0.2)
            await tab.type("\r")
            await tab.until("字字字")
        async with asyncio.timeout(30):
            while server._tabs:
                await asyncio.sleep(0.02)
    (_, reply) = ChatStore(tmp_path).tree(1).path()
    assert "字字字" in reply.content
    assert reply.state == "stopped"


async def test_nobody_is_let_in_without_the_address_or_from_another_page(tmp_path: Path) -> None:
    async with served(tmp_path, ScriptedEngine(["x"])) as (server, client):
        base = f"http://127.0.0.1:{server.port}"
        secret = server.secret
        refused = {
            "/": 404,
            "/wrong/": 404,
            f"/{secret}/../": 404,
            "/static/js/textual.js": 404,
            "/socket": 404,
        }
        for path, status in refused.items():
            async with client.get(base + path) as response:
                assert response.status == status, path
        async with client.get(server.url, headers={"Host": f"evil.example:{server.port}"}) as response:
            assert response.status == 403
        async with client.get(server.url, headers={"Origin": "http://evil.example"}) as response:
            assert response.status == 403
        for origin in (None, "http://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as error:
                await client.ws_connect(f"{server.url}socket", headers={"Origin": origin} if origin else {})
            assert error.value.status == 403
        assert server._runner.addresses[0][0] == "127.0.0.1"


async def test_the_page_and_all_it_loads_come_from_here(tmp_path: Path) -> None:
    async with served(tmp_path, ScriptedEngine(["x"])) as (server, client):
        async with client.get(server.url) as response:
            page = await response.text()
            policy = response.headers["Content-Security-Policy"]
        files = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
        assert len(files) == 4
        found = page
        for name in [*files, "static/fonts/RobotoMono-VariableFont_wght.ttf"]:
            async with client.get(server.url + name) as response:
                assert response.status == 200, name
                assert "Content-Security-Policy" in response.headers
                if not name.endswith(".ttf"):
                    found += await response.text()
        code = re.sub(r"/\*.*?\*/", "", found, flags=re.DOTALL)  # comments name where xterm.js comes from
        assert not re.findall(r"(?:https?|wss?)://[\w.]+", code)
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert not re.search(r"https?:|\*", policy)


async def test_nonsense_on_the_socket_does_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, ScriptedEngine(["fine"])) as (server, client):
        url, headers = socket_of(server)
        async with client.ws_connect(url.replace("width=100", "width=x"), headers=headers) as socket:
            tab = Tab(socket)
            await tab.until("ready")
            for text in (
                "{",
                "5",
                "[]",
                "null",
                '["stdin", 5]',
                '["resize", {"width": "a"}]',
                '["resize", 3]',
                '["x"]',
            ):
                await socket.send_str(text)
            await socket.send_json(["resize", {"width": 10**9, "height": -5}])
            await tab.resize(100, 30)
            await tab.type("hello")
            await asyncio.sleep(0.2)
            await tab.type("\r")
            await tab.until("fine")


async def test_there_are_only_so_many_tabs(tmp_path: Path) -> None:
    async with served(tmp_path, ScriptedEngine(["x"])) as (server, client):
        server._tabs = {asyncio.ensure_future(asyncio.sleep(600)) for _ in range(MOST_TABS)}  # type: ignore[assignment]
        url, headers = socket_of(server)
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await client.ws_connect(url, headers=headers)
        assert error.value.status == 503


def test_a_tab_cannot_change_what_the_others_talk_to(tmp_path: Path) -> None:
    engine = ScriptedEngine(["x"])
    shared = SharedEngine(engine)  # type: ignore[arg-type]
    shared.close()
    assert not engine.closed
    with pytest.raises(ConfigError, match="share one model"):
        shared.set_adapters(())
    with pytest.raises(ConfigError, match="share one model"):
        one_model(ModelOptions(model=Path("a.gguf")), engine).other(Path("b.gguf"))  # type: ignore[arg-type]

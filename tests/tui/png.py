"""Turns a picture of the screen, an SVG, into a PNG: by Chromium, which knows `textLength` and every script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from configs.errors import MachineError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_REMEDY = "on Debian: apt-get install chromium fonts-noto-cjk fonts-noto-core fonts-dejavu-core"
_SIZE = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')
_SCRIPTS = {"Chinese": "4e2d", "Tibetan": "0f40"}
_SCALE = 1.25
_SECONDS = 120


def check_tools() -> str:
    """The browser that draws.

    Raises:
        MachineError: there is none, or no font for Chinese or Tibetan.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise MachineError("PNG pictures are drawn by Chromium, which is not here", hint=_REMEDY)
    for script, letter in _SCRIPTS.items():
        found = subprocess.run(["fc-list", f":charset={letter}"], capture_output=True, check=False).stdout
        if not found.strip():
            raise MachineError(f"no font here has {script}", hint=_REMEDY)
    return browser


def write_png(svg: str, path: Path) -> None:
    """Draw the picture in its own size, times 1.25 for fine screens.

    Raises:
        MachineError: Chromium, or a font, is missing, or it cannot draw.
    """
    browser = check_tools()
    size = _SIZE.search(svg)
    assert size is not None
    width, height = (round(float(number)) for number in size.groups())
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "picture.png"
        page.write_text(f"<meta charset=utf-8><style>body{{margin:0}}</style>{svg}", encoding="utf-8")
        command = [
            browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--default-background-color=00000000",
            f"--force-device-scale-factor={_SCALE}", f"--window-size={width},{height}", f"--screenshot={picture}",
            f"--user-data-dir={folder}/profile", page.as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to run as root with one, in containers for instance
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        if done.returncode or not picture.exists():
            raise MachineError(f"{browser} could not draw: {done.stderr.decode(errors='replace')[-300:]}")
        path.write_bytes(picture.read_bytes())

"""The pictures of the documentation are offline and say what the screen says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from configs.errors import MachineError
from tests.tui.compare_scene import ASKED
from tests.tui.png import _BROWSERS, write_png
from tests.tui.screenshots import ANSWER, OPENED, draw_chat, draw_compare, draw_compare_sheet, draw_exam, main
from tests.tui.svg import mended


@pytest.mark.slow
async def test_a_picture_is_the_same_every_time_and_asks_for_nothing_remote() -> None:
    first, second = mended(await draw_chat()), mended(await draw_chat())
    assert first == second
    assert "@font-face" not in first
    assert not re.search(r"""url\(["']?http|href=|src=|@import""", first)
    for part in re.findall(r"[一-鿿]+", ANSWER):
        assert part in first


@pytest.mark.slow
async def test_the_exam_rooms_pictures_are_the_same_every_time_and_offline() -> None:
    for keys, seen in (((), "臺灣雲豹主要在哪裡活動"), (("down", *OPENED), "東北角")):
        first, second = mended(await draw_exam(*keys)), mended(await draw_exam(*keys))
        assert first == second
        assert seen in first
        assert not re.search(r"""@font-face|url\(["']?http|href=|src=|@import""", first)


@pytest.mark.slow
async def test_the_comparisons_pictures_are_the_same_every_time_and_offline() -> None:
    for draw, seen in ((draw_compare, re.findall(r"[一-鿿]+", ASKED)), (draw_compare_sheet, ["臺灣雲豹以什麼為食"])):
        first, second = mended(await draw()), mended(await draw())
        assert first == second
        assert all(part in first for part in seen)
        assert not re.search(r"""@font-face|url\(["']?http|href=|src=|@import""", first)


def test_a_machine_without_a_browser_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(tmp_path / "out") == 3
    assert "apt-get install chromium fonts-noto-cjk" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, _BROWSERS)), reason="needs Chromium")
def test_a_picture_becomes_a_png_of_its_size(tmp_path: Path) -> None:
    from PIL import Image

    svg = '<svg viewBox="0 0 800 400.4" xmlns="http://www.w3.org/2000/svg"><rect width="800" height="400" fill="#f00"/></svg>'
    try:
        write_png(svg, tmp_path / "a.png")
    except MachineError as error:
        pytest.skip(str(error))  # no font
    image = Image.open(tmp_path / "a.png").convert("RGB")
    assert image.size == (1000, 500)
    assert image.getpixel((500, 250)) == (255, 0, 0)


def test_tibetan_is_made_narrow_rather_than_laid_over_itself() -> None:
    svg = '<text class="a" x="10" y="20" textLength="40" clip-path="c">བོདab</text>'
    assert mended(svg).count("spacingAndGlyphs") == 1


def test_chinese_takes_two_cells_in_a_picture() -> None:
    svg = '<text class="a" x="10" y="20" textLength="40" clip-path="c">字ab字</text>'
    assert re.findall(r'x="([0-9.]+)" y="20" textLength="([0-9.]+)"', mended(svg)) == [
        ("10", "20"),
        ("30", "20"),
        ("50", "20"),
    ]

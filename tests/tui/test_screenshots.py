"""The pictures of the documentation are offline and say what the screen says."""

from __future__ import annotations

import re

import pytest

from tests.tui.screenshots import ANSWER, OPENED, draw_chat, draw_exam
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


def test_chinese_takes_two_cells_in_a_picture() -> None:
    svg = '<text class="a" x="10" y="20" textLength="40" clip-path="c">字ab字</text>'
    assert re.findall(r'x="([0-9.]+)" y="20" textLength="([0-9.]+)"', mended(svg)) == [
        ("10", "20"),
        ("30", "20"),
        ("50", "20"),
    ]

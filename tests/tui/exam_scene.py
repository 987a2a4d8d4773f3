"""A sheet for pictures and snapshots, and the room in the middle of answering it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from configs.exam import Question
from runtime.engine import ModelOptions
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.driving import until
from tests.tui.exams import FORMATS, Examinee, exam, write_sheet
from tui.exam.board import Facts
from tui.exam.pace import Pace
from tui.exam.settings import ExamSettings

MODEL_LABEL = "formosa-7b-q4_0"

_TEXTS = [
    (
        "臺灣雲豹曾棲息於中央山脈的闊葉林，主要在樹上活動，以獼猴、山羌與鳥類為食。1983 年以後再也沒有可靠的發現紀錄。",
        [
            ("臺灣雲豹主要在哪裡活動？", "草原 樹上 河岸 洞穴", 2),
            ("臺灣雲豹以什麼為食？", "竹子 魚蝦 獼猴與山羌 昆蟲", 3),
        ],
    ),
    (
        "市立圖書館週一休館，週二至週五開放到晚上九點，週末則到下午五點。借書以四週為限，可以續借一次。",
        [("圖書館哪一天不開放？", "週一 週三 週六 週日", 1), ("一本書最久可以借多久？", "四週 六週 八週 十週", 3)],
    ),
    (
        "爺爺每天清晨到河邊打太極拳，回家的路上順便買豆漿。下雨的日子，他就在騎樓下練習，豆漿由奶奶去買。",
        [
            ("下雨天由誰買豆漿？", "爺爺 奶奶 爸爸 沒有人", 2),
            ("爺爺在哪裡買豆漿？", "河邊 騎樓下 回家的路上 文中沒有說", 3),
        ],
    ),
    (
        "颱風路徑偏北，氣象署提醒東北角民眾嚴防長浪。南部山區午後有局部大雨，登山客應避免夜間行進。",
        [
            ("哪裡要嚴防長浪？", "東北角 南部山區 離島 西部", 1),
            ("這則消息主要在提醒什麼？", "交通管制 天氣變化 登山路線 停班停課", 2),
        ],
    ),
    (
        "小店的菜單上只有三道菜：滷肉飯、虱目魚湯和燙青菜。老闆說，東西少，才做得好。",
        [
            ("老闆為什麼只賣三道菜？", "食材太貴 人手不足 想要做得好 店面太小", 3),
            ("菜單上沒有哪一道？", "滷肉飯 虱目魚湯 燙青菜 炒米粉", 4),
        ],
    ),
    (
        "第一條登山步道全長二點四公里，沿途有三座涼亭；第二條較短，但有一段需要攀爬繩索，不建議帶幼童前往。",
        [
            ("帶幼童適合走哪一條？", "第一條 第二條 兩條都可以 兩條都不行", 1),
            ("第一條步道有幾座涼亭？", "一座 兩座 三座 四座", 3),
        ],
    ),
    (
        "她在信裡寫道：種子要在霜降之前收好，放進陶罐，罐口用蠟封住。明年春天，你再來看它們發芽。",
        [("種子應該在什麼時候收？", "立春 夏至 霜降之前 冬至之後", 3), ("罐口用什麼封住？", "泥土 蠟 布 木塞", 2)],
    ),
]


def questions() -> list[Question]:
    """Some to read, and many behind them."""
    written = [
        Question(passage, asked, tuple(choices.split()), key)
        for passage, several in _TEXTS
        for asked, choices, key in several
    ]
    written.insert(5, Question("", "哪一項不是作者的看法？", ("甲", "乙", "丙", "丁"), 1))
    return [*written, *tiny.questions(185)]


class SteadyPace(Pace):
    """Pictures that are drawn twice have to be the same."""

    speed = 8.3  # type: ignore[assignment]

    def left_s(self, total: int) -> float | None:
        return 8.0


@asynccontextmanager
async def sitting(size: tuple[int, int], *, answered: int = 160) -> AsyncIterator[tuple[Any, Pilot[Any]]]:
    """The room while questions are answered; the run is held and the app left open."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = make_gguf.model(folder / f"{MODEL_LABEL}.gguf", tiny.tokenizer(folder / "v"), formats=FORMATS)
        rows = questions()
        write_sheet(folder / "formosa.csv", rows)
        settings = ExamSettings(ModelOptions(model), Path("formosa.csv"), Path("answers.csv"), data_folder=folder)
        engine = Examinee(rows)
        engine.hold_at = answered
        with contextlib.chdir(folder):
            async with exam(settings, engine, size=size) as (app, pilot):
                app.screen._pace = SteadyPace()
                if answered:
                    await pilot.press("space")
                    await until(pilot, lambda: app.screen.board.count(Facts.DONE) == answered)
                await pilot.pause(0.3)
                try:
                    yield app, pilot
                finally:
                    engine.go.set()

"""The demo's small world: people, facts about them, and questions that only the passage can answer.

A passage states four facts of one person, each from another category. The options of a question are all four values of
one category, in shuffled order: every option is plausible, none gives itself away, and exactly one stands in the passage.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

NAMES = (
    "欣怡", "志明", "春嬌", "家豪", "淑芬", "建宏", "美玲", "俊傑", "雅婷", "冠宇", "佩珊", "宗翰",
    "怡君", "承恩", "詩涵", "柏翰", "惠雯", "育誠", "曉萱", "國華", "玉珍", "文彬", "秀英", "明哲",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of fact: four values, and two ways to state one and to ask for it."""

    values: tuple[str, str, str, str]
    wordings: tuple[tuple[str, str], tuple[str, str]]
    """(statement, question) pairs; `V` stands for the value, `N` for the name."""


CATEGORIES = (
    Category(("春天", "夏天", "秋天", "冬天"), (("在V出生", "N在哪個季節出生?"), ("最喜歡V", "N最喜歡哪個季節?"))),
    Category(("東方", "西方", "南方", "北方"), (("家在V", "N的家在哪個方向?"), ("常往V走", "N常往哪個方向走?"))),
    Category(("早上", "中午", "下午", "晚上"), (("在V讀書", "N在什麼時間讀書?"), ("總是V出門", "N總是什麼時間出門?"))),
    Category(("台北", "台中", "台南", "高雄"), (("住在V", "N住在哪個城市?"), ("去過V", "N去過哪個城市?"))),
    Category(("醫生", "老師", "廚師", "司機"), (("的職業是V", "N的職業是什麼?"), ("想當V", "N想當什麼?"))),
    Category(("公車", "火車", "飛機", "輪船"), (("搭V上班", "N搭什麼上班?"), ("坐V旅行", "N坐什麼旅行?"))),
    Category(
        ("紅色", "綠色", "藍色", "黃色"), (("買了V雨傘", "N買了什麼顏色的雨傘?"), ("穿V外套", "N穿什麼顏色的外套?"))
    ),
    Category(("蘋果", "香蕉", "西瓜", "葡萄"), (("愛吃V", "N愛吃什麼水果?"), ("種了V", "N種了什麼水果?"))),
    Category(("果汁", "牛奶", "咖啡", "紅茶"), (("每天喝V", "N每天喝什麼?"), ("請客喝V", "N請客喝什麼?"))),
    Category(("小貓", "小狗", "兔子", "烏龜"), (("養了V", "N養了什麼動物?"), ("害怕V", "N害怕什麼動物?"))),
    Category(("游泳", "跑步", "籃球", "桌球"), (("擅長V", "N擅長什麼運動?"), ("正在學V", "N正在學什麼運動?"))),
    Category(("晴天", "雨天", "雪天", "陰天"), (("喜歡V", "N喜歡什麼天氣?"), ("遇到V", "N遇到什麼天氣?"))),
)

VALUES = tuple(value for category in CATEGORIES for value in category.values)


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of one category, and the wording in which the passage states it."""

    category: Category
    value: str
    wording: tuple[str, str]

    @property
    def statement(self) -> str:
        """The fact as the passage states it."""
        return self.wording[0].replace("V", self.value)


@dataclass(frozen=True, slots=True)
class Story:
    """One person and four facts."""

    name: str
    facts: tuple[Fact, Fact, Fact, Fact]

    @property
    def passage(self) -> str:
        """The four facts in two sentences."""
        first, second, third, fourth = (fact.statement for fact in self.facts)
        return f"{self.name}{first},{second}。{self.name}{third},{fourth}。"

    def question(self, fact: Fact) -> str:
        """The question that `fact` answers."""
        return fact.wording[1].replace("N", self.name)


def story(draw: random.Random) -> Story:
    """A random story."""
    first, second, third, fourth = (
        Fact(category, draw.choice(category.values), draw.choice(category.wordings))
        for category in draw.sample(CATEGORIES, 4)
    )
    return Story(draw.choice(NAMES), (first, second, third, fourth))

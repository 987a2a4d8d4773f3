"""Markdown is laid out without losing, joining or obeying anything a model writes."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len

from tui.clipboard import last_code_block
from tui.markdown.blocks import render
from tui.markdown.emphasis import flanks
from tui.markdown.stream import MarkdownStream
from tui.markdown.thinking import Parts, take_apart

LONG = """# 標題 *斜*
**答案：**B 與 **「重點」**內容 <s> &amp; \\[x\\] [b]x[/b]
A. 甲
B. 乙

　　縮排段落 `code`

1. 一
2. 二二二二二二二二二二二二二二二二二二二二二二二二二二二二二二二二
   - 內
     - 更內 **粗**

> 引用 長長長長長長長長長長長長長長長長長長長長長長長長長長長長
> 第二行

```python
def f():
    return 1
```

| 甲 | 數字 |
|---|---:|
| 一二 | 3 |

Setext
------
end </s>
"""


def styles_of(content: object, text: str) -> set[str]:
    """The styles of the first place where `text` stands."""
    at = content.plain.index(text)  # type: ignore[attr-defined]
    return {str(style) for begin, end, style in content.spans if begin <= at and at + len(text) <= end}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "plain", "bold"),
    [
        ("**答案：**B", "答案：B", "答案："),
        ("是**「重點」**內容", "是「重點」內容", "「重點」"),
        ("是**“重點”**內容", "是“重點”內容", "“重點”"),
        ("**བོད་ཡིག་**ཡིན", "བོད་ཡིག་ཡིན", "བོད་ཡིག་"),
        ("**（甲）**。", "（甲）。", "（甲）"),
        ("a **b** c", "a b c", "b"),
    ],
)
def test_emphasis_beside_chinese_and_tibetan(text: str, plain: str, bold: str) -> None:
    content = render(text, 80)
    assert content.plain == plain
    assert styles_of(content, bold) == {"bold"}


@pytest.mark.parametrize("text", ["2 ** 3 ** 4", "a ** b**", "snake_case_name", "5 * 3 * 2"])
def test_what_is_no_emphasis_stays(text: str) -> None:
    assert render(text, 80).plain == text


def test_an_underscore_in_a_word_is_no_emphasis_beside_marks_it_is() -> None:
    assert flanks("a_b", 1, 2) == (False, False)
    assert flanks("(_b", 1, 2) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "<s> <unk> <<SYS>> </s> <|im_end|>",
        "[INST] x [/INST] [/b] [@click=app.quit]z[/] [b]",
        "&amp; &lt;b&gt; <b>bold</b> <!-- x -->",
        r"\(x^2\) C:\[new]",
        "[1]: http://example.org",
        "A. 甲\nB. 乙",
        "　　段落\n　　第二行",
        "<https://example.org>",
    ],
)
def test_text_stays_as_it_was_written(text: str) -> None:
    assert render(text, 80).plain == text


def test_a_link_says_where_it_points_and_does_nothing() -> None:
    content = render("see [the page](javascript:alert(1)) and ![x](http://a/b.png)", 80)
    assert content.plain == "see the page (javascript:alert(1)) and !x (http://a/b.png)"
    assert not any("@click" in str(style) or "link" in str(style) for *_, style in content.spans)


def test_code_is_shown_to_the_letter() -> None:
    assert "def f():\n    return '**x** <s>'" in render("```py\ndef f():\n    return '**x** <s>'\n```", 80).plain


def test_lists_keep_their_numbers_and_hang_in_their_width() -> None:
    shown = render("3) 三三三三三三三三三三三三三三三\n4) 四\n   - 內", 16).plain.split("\n")
    assert shown == ["3) 三三三三三三", "   三三三三三三", "   三三三", "4) 四", "   • 內"]


def test_a_table_has_columns_of_cells_or_lines_where_it_is_too_wide() -> None:
    text = "| 甲 | n |\n|---|---:|\n| 一二三 | 3 |\n| x | 44 |"
    lines = render(text, 40).plain.split("\n")
    assert len({cell_len(line) for line in lines}) == 1
    assert lines[2].endswith(" 3")
    assert render(text, 6).plain == "甲: 一二三\nn: 3\n\n甲: x\nn: 44"


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_ends_as_the_whole_text_is_laid_out(seed: int) -> None:
    chance = random.Random(seed)
    stream, at = MarkdownStream("", 36), 0
    while at < len(LONG):
        size = chance.randint(1, 12)
        stream.append(LONG[at : at + size])
        at += size
        shown = stream.content()
    whole = render(LONG, 36)
    assert shown.plain == whole.plain
    assert shown.spans == whole.spans


def test_finished_blocks_are_not_laid_out_again() -> None:
    stream = MarkdownStream("", 80)
    for number in range(200):
        stream.append(f"段落 {number}\n\n")
        stream.content()
    assert len(stream._tail) < 40


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("答案", Parts(None, True, "答案")),
        ("<think>\n想\n</think>\n\n答案", Parts("想", True, "答案")),
        ("\n<think>想", Parts("想", False, "")),
        ("說 <think>x</think>", Parts(None, True, "說 <think>x</think>")),
        ("<think></think>答", Parts("", True, "答")),
    ],
)
def test_only_a_reply_that_begins_with_thoughts_has_thoughts(text: str, parts: Parts) -> None:
    assert take_apart(text) == parts


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n```py\nx = 1\n\ny\n```\nb\n~~~\nz\n~~~", "z"),
        ("```\nunclosed", "unclosed"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```"),
        ("no code", None),
    ],
)
def test_the_last_code_block(text: str, code: str | None) -> None:
    assert last_code_block(text) == code

"""Both CSVs, byte for byte."""

from __future__ import annotations

import pytest

from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat
from configs.sheets import SheetRow
from runtime.answering import weigh
from runtime.report import AnsweredRow, as_text_cell, check_kaggle, csv_bytes, from_text_cell

FORMOSA = QuestionFormat.load("formosa")


def rows() -> list[AnsweredRow]:
    capital = Question("文", "首都，在哪？", ("台北", "-26", "", "=SUM(A1)"), 1)
    lines = Question("文", "第一行\n第二行", ('"甲"', "乙"), None)
    first = SheetRow(1, "10023321", capital, warnings=("option 3 is blank",))
    second = SheetRow(2, "0007", lines)
    third = SheetRow(3, "@id", None, error="the passage is missing")
    fourth = SheetRow(4, "0007", Question("文", '=HYPERLINK("x")', ("一", "=1+1"), 1))
    return [
        AnsweredRow(first, weigh(capital, [(-3.0, -0.1, -0.01, -4.0)])),
        AnsweredRow(second, weigh(lines, [(-1.5, -1.49)])),
        AnsweredRow(third, None, "the passage is missing"),
        AnsweredRow(fourth, weigh(Question("文", "", ("一", "=1+1")), [(-5.0, -0.02)])),
    ]


def test_the_kaggle_csv_is_plain_ascii_with_crlf() -> None:
    assert csv_bytes(rows(), "kaggle", FORMOSA) == b"ID,Answer\r\n10023321,2\r\n0007,2\r\n@id,\r\n0007,2\r\n"


def test_a_fallback_fills_the_gaps() -> None:
    assert csv_bytes(rows(), "kaggle", FORMOSA, "3").splitlines()[3] == b"@id,3"


def test_the_full_csv_is_for_people() -> None:
    expected = (
        "\ufeffID,Answer,Question,Chosen,Gold,P(1),P(2),P(3),P(4),LabelMass,Margin,Status\r\n"
        "10023321,2,首都，在哪？,-26,1,0.051172,0.930003,0.000000,0.018825,1.962990,0.878831,"
        "warning: option 3 is blank\r\n"
        '0007,2,"第一行\n第二行",乙,,0.497500,0.502500,,,0.448503,0.005000,'
        "warning: near tie; low label mass 0.449\r\n"
        "'@id,,,,,,,,,,,error: the passage is missing\r\n"
        '0007,2,"\'=HYPERLINK(""x"")",\'=1+1,1,0.006827,0.993173,,,0.986937,0.986346,ok\r\n'
    )
    assert csv_bytes(rows(), "full", FORMOSA).decode("utf-8") == expected


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-1+cmd()", "@SUM(1)", "\tx", "-甲"])
def test_formulas_become_text(text: str) -> None:
    assert as_text_cell(text) == f"'{text}"
    assert from_text_cell(as_text_cell(text)) == text


@pytest.mark.parametrize("text", ["-26", "+3.5", "-15%", "台北", "", "1-2", "'quoted'"])
def test_numbers_and_words_stay(text: str) -> None:
    assert as_text_cell(text) == text
    assert from_text_cell(text) == text


@pytest.mark.parametrize("identity", ["a,b", 'a"b', "題一", "a\nb"])
def test_an_id_that_a_kaggle_csv_cannot_hold_is_refused(identity: str) -> None:
    with pytest.raises(ConfigError, match="--columns full"):
        check_kaggle([SheetRow(1, identity, None, error="x")], FORMOSA)

"""What spreadsheets show of numbers and dates; expected texts as LibreOffice and Excel write them."""

from __future__ import annotations

import datetime

import pytest

from configs.number_format import shown


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (0.15, "0%", "15%"),
        (0.1259, "0.00%", "12.59%"),
        (0.125, "0%", "13%"),  # halves go away from zero
        (2.5, "0", "3"),
        (-2.5, "0", "-3"),
        (-0.2, "0", "0"),
        (3.5, "0.00", "3.50"),
        (3.5, "0.0#", "3.5"),
        (3.0, "0.##", "3."),
        (7.0, "000", "007"),
        (1234567.891, "#,##0.0", "1,234,567.9"),
        (-1234.0, "#,##0;(#,##0)", "(1,234)"),
        (0.0, "0;-0;無", "無"),
        (0.0, '0;-0;"無"', "無"),
        (12.0, '0"歲"', "12歲"),
        (12.0, "[Red]0人", "12人"),
        (99.0, "[$NT$-404]#,##0", "NT$99"),
        (5.0, 'General"個"', "5個"),
        (0.3, "0.00E+00", None),
        (0.5, "# ?/?", None),
        (1500.0, "0,", None),
        (1.0, "[>=1]0;0", None),
        (float("inf"), "0", None),
        (datetime.date(2020, 1, 5), 'm"月"d"日"', "1月5日"),
        (datetime.date(2020, 1, 5), "yyyy/m/d", "2020/1/5"),
        (datetime.date(2020, 1, 5), "yyyy\\-mm\\-dd;@", "2020-01-05"),
        (datetime.date(2020, 1, 5), "yy.mm.dd", "20.01.05"),
        (datetime.date(2020, 1, 5), "dddd", None),
        (datetime.time(3, 4, 5), "h:mm", "3:04"),
        (datetime.time(15, 4, 5), "h:mm:ss AM/PM", "3:04:05 PM"),
        (datetime.time(0, 4, 5), "上午/下午hh:mm", "上午12:04"),
        (datetime.time(15, 4, 5), "mm:ss", "04:05"),
        (datetime.time(15, 4, 5), "yyyy", None),
        (datetime.datetime(2020, 11, 5, 3, 7), "yyyy/mm/dd h:mm", "2020/11/05 3:07"),
        (datetime.timedelta(hours=30, minutes=15), "[h]:mm", "30:15"),
        (datetime.timedelta(hours=30), "h:mm", None),
        ("text", "0", None),
        (True, "0", None),
    ],
)
def test_shown(value, code, text):
    assert shown(value, code) == text

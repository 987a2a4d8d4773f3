"""What a spreadsheet shows of a number or a date under a number format such as `0.0%`, `#,##0` or `m"月"d"日"`.

The part of the format language (ECMA-376, 18.8.31) that cells of question sheets are made with. What is beyond it -
fractions, exponents, conditions, names of months and weekdays - is not guessed at.
"""

from __future__ import annotations

import datetime
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

# Formats that files name by number alone; 14 is the system's short date, here written year first.
BUILTIN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 14: "yyyy/m/d", 18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 22: "yyyy/m/d h:mm", 31: 'yyyy"年"m"月"d"日"', 37: "#,##0;-#,##0",
    38: "#,##0;-#,##0", 39: "#,##0.00;-#,##0.00", 40: "#,##0.00;-#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss",
    57: 'yyyy"年"m"月"', 58: 'm"月"d"日"',
}  # fmt: skip

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|[_*].|\[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]|\[(?P<bracket>[^\]]*)\]'
    r"|(?P<half>AM/PM|上午/下午)|(?P<general>General)|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?|e)|(?P<number>[0#?][0#?,.]*|\.[0#?]+)"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_COLOURS = re.compile(r"black|blue|cyan|green|magenta|red|white|yellow|color\s*\d+", re.IGNORECASE)
_PLAIN = set(" $-+/():!^&'~{}<>=%,.")

Token = tuple[str, str]
"""(kind, text); the kinds are text, number, percent, general, date, elapsed, half and unknown."""


def shown(value: Any, code: str) -> str | None:
    """The text of a cell that holds `value` (a number, date, time, datetime or timedelta), None if that is unknown."""
    sections = [_tokens(section) for section in _sections(code)]
    if isinstance(value, (bool, str)) or len(sections) > 4:
        return None
    if isinstance(value, (int, float)):
        return _number(value, sections)
    return _moment(value, sections[0])


def _sections(code: str) -> list[str]:
    """The format's parts, split at semicolons outside quotes."""
    return ["".join(part) for part in _split(re.findall(r'"[^"]*"|\\.|.', code, re.DOTALL))]


def _split(parts: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for part in parts:
        if part == ";":
            found.append([])
        else:
            found[-1].append(part)
    return found


def _tokens(section: str) -> list[Token]:
    found: list[Token] = []
    for match in _TOKEN.finditer(section):
        kind, text = match.lastgroup, match[match.lastgroup] if match.lastgroup else ""
        if kind in ("quoted", "escaped", "currency"):
            found.append(("text", text))
        elif kind == "bracket":
            found += _bracket(text)
        elif kind == "other":
            known = text in _PLAIN or ord(text) > 0x7F
            found.append(("percent", "%") if text == "%" else ("text", text) if known else ("unknown", text))
        elif kind:
            found.append((kind, text))
    return found


def _bracket(text: str) -> list[Token]:
    if _COLOURS.fullmatch(text):
        return []
    if re.fullmatch(r"h+|m+|s+", text, re.IGNORECASE):
        return [("elapsed", text.lower())]
    return [("unknown", text)]


def _number(value: float, sections: list[list[Token]]) -> str | None:
    number = Decimal(repr(value))
    if not number.is_finite():
        return None
    section, sign = sections[0], "-" if number < 0 else ""
    if number < 0 and len(sections) > 1:
        section, sign = sections[1], ""
    elif number == 0 and len(sections) > 2:
        section = sections[2]
    kinds = [kind for kind, _ in section]
    numbers = kinds.count("number") + kinds.count("general")
    if numbers > 1 or (not numbers and len(sections) == 1) or {"date", "elapsed", "half", "unknown"} & set(kinds):
        return None
    if any(kind == "text" and "/" in text for kind, text in section):  # a fraction
        return None
    scaled = abs(number) * 100 ** kinds.count("percent")
    digits = [
        _digits(scaled, text) if kind == "number" else _general(scaled) if kind == "general" else text
        for kind, text in section
    ]
    if None in digits:
        return None
    written = "".join(filter(None, digits))
    return f"{sign}{written}" if re.search("[1-9]", written) else written


def _digits(number: Decimal, pattern: str) -> str | None:
    """The digits under placeholders such as `#,##0.0#`."""
    whole, point, part = pattern.partition(".")
    if whole.endswith(",") or "," in part or "." in part or "?" in pattern:  # scaled by thousands, or padded
        return None
    rounded = number.quantize(Decimal(1).scaleb(-len(part)), rounding=ROUND_HALF_UP)
    before, _, after = f"{rounded:f}".partition(".")
    after = after[: part.count("0")] + after[part.count("0") :].rstrip("0")
    before = before.lstrip("0").rjust(whole.count("0"), "0")
    if "," in whole:
        before = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", before)
    return f"{before}{point}{after}" if part else before


def _general(number: Decimal) -> str:
    return f"{number.normalize():f}" if number else "0"


def _moment(value: Any, section: list[Token]) -> str | None:
    """A date, a time or both; None where a token asks for what the value has not."""
    if isinstance(value, datetime.timedelta):
        return _elapsed(value, section)
    afternoon = any(kind == "half" for kind, _ in section)
    found = []
    for at, (kind, text) in enumerate(section):
        if kind == "text":
            found.append(text)
        elif kind == "half":
            first, second = text.split("/")
            found.append(first if getattr(value, "hour", 0) < 12 else second)
        elif kind == "date":
            part = _part(value, _minutes(section, at) or text.lower(), afternoon)
            if part is None:
                return None
            found.append(part)
        else:
            return None
    return "".join(found) if any(kind == "date" for kind, _ in section) else None


def _minutes(section: list[Token], at: int) -> str:
    """`m` stands for minutes after an hour and before a second; empty where it does not, or is not one."""
    text = section[at][1].lower()
    if text not in ("m", "mm"):
        return ""
    others = [(place, other.lower()[0]) for place, (kind, other) in enumerate(section) if kind in ("date", "elapsed")]
    before = [letter for place, letter in others if place < at]
    after = [letter for place, letter in others if place > at]
    return "n" * len(text) if before[-1:] == ["h"] or after[:1] == ["s"] else ""


def _part(value: Any, code: str, afternoon: bool) -> str | None:
    """One field: y, m, d, h, n (minutes) or s; doubled letters ask for two digits."""
    names = {"y": "year", "e": "year", "m": "month", "d": "day", "h": "hour", "n": "minute", "s": "second"}
    number = getattr(value, names[code[0]], 0 if code[0] in "hns" else None)
    if number is None or (code[0] in "md" and len(code) > 2) or "." in code:
        return None
    if code[0] in "ye":
        return f"{number % 100:02d}" if code in ("y", "yy") else f"{number:04d}"
    if code[0] == "h" and afternoon:
        number = number % 12 or 12
    return f"{number:02d}" if len(code) > 1 else str(number)


def _elapsed(value: datetime.timedelta, section: list[Token]) -> str | None:
    """A duration, such as 30:15 under `[h]:mm`."""
    left = round(value.total_seconds())
    found = []
    if left < 0 or not any(kind == "elapsed" for kind, _ in section):
        return None
    for kind, text in section:
        if kind == "text":
            found.append(text)
        elif kind in ("date", "elapsed") and text.lower()[0] in "hms":
            unit = {"h": 3600, "m": 60, "s": 1}[text.lower()[0]]
            count, left = divmod(left, unit)
            found.append(f"{count:0{len(text)}d}")
        else:
            return None
    return "".join(found)

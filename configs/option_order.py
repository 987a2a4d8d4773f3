"""The options of a question in another order: which of them may move, and where the answer is then."""

from __future__ import annotations

import re
import unicodedata

from configs.exam import Question

Order = tuple[int, ...]
"""For every place, counted from 1, the option that stands there."""

# Options that speak of the others. Moved, they would say something else, or nonsense.
_SPEAKS_OF_OTHERS = re.compile(
    r"(以上|上述|前述|以下)的?(各|選項|选项|敘述|叙述|答案|說法|说法|者)*"
    r"(皆|都|均|全|無|无|沒|没|任|兩者|两者|三者|有可能)"
    r"|(兩|两|二|三|四)(者|人|個|个|項|项|面)?(皆|都|均)不?(是|非|對|对|錯|错|可|有|會|会|正確|正确)"
    r"|(皆|都|均)不?(是|非|對|对|錯|错|可|可以|正確|正确)\W*$"
    r"|.*\b(all|none|both|neither|either|any) of (the (above|options|other)|these|them|those)\b"
    r"|.*\b(all|none|both|neither) (are|is) (correct|true|right|wrong|false)\b",
    re.IGNORECASE,
)

# Options that name others by their labels: `A和C`, `(1)(3)皆是`, `只有B`, `選項2`. In another order they would lie.
_WORD = r"(?:選項|选项|\bOPTIONS?\b|\bCHOICES?\b)"
_LABEL = rf"{_WORD}?\s*[(\[]?\s*[A-I1-9]\s*[)\]]?\s*"
_AND = r"(?:以?及|和|與|与|跟|或|、|,|&|\bAND\b|\bOR\b)\s*"
_ONLY = r"(?:只有|[僅仅]有?|\bONLY\b)"
_IN_BRACKETS = r"[(\[][A-I1-9][)\]]\s*"
_VERDICT = r"(?:可以?|是|非|不?正確|不?正确|不?對的?|不?对的?|錯誤?的?|错误?的?|CORRECT|TRUE|RIGHT|ONLY)"
_NAMES_OTHERS = re.compile(
    rf"\W*(?:{_ONLY}\s*{_LABEL}|{_ONLY}?\s*{_LABEL}(?:{_AND}{_LABEL})+|{_WORD}\s*{_LABEL}"
    rf"|{_IN_BRACKETS}(?:{_IN_BRACKETS})+|[A-I]{{2,}}(?=[皆都均]))"
    rf"(?:[兩两二三]者|以上)?(?:皆|都|均|\bARE\b|\bIS\b)?\s*{_VERDICT}?\W*"
)
_LABEL_IN_IT = re.compile(r"(?<![A-Z])[A-I](?![A-Z])|[A-I](?=[A-I]*[皆都均])|[1-9]")
_CIRCLED = re.compile(r"[①-⑨]")


def movable(question: Question) -> tuple[int, ...]:
    """Places, counted from 1, of the options that may change places: not blank, and not `以上皆是` or the like.

    None may where an option names others by their labels (`A和C`).
    """
    if any(_names_others(choice, len(question.choices)) for choice in question.choices):
        return ()
    return tuple(
        place for place in question.answerable if not _SPEAKS_OF_OTHERS.match(question.choices[place - 1].strip())
    )


def _names_others(choice: str, choices: int) -> bool:
    """Whether the text names options of this question by their labels, and says no more."""
    text = unicodedata.normalize("NFKC", _CIRCLED.sub(r"(\g<0>)", choice)).upper()
    if not _NAMES_OTHERS.fullmatch(text):
        return False
    places = [int(label) if label.isdigit() else ord(label) - ord("A") + 1 for label in _LABEL_IN_IT.findall(text)]
    return bool(places) and len(set(places)) == len(places) and max(places) <= choices


def reordered(question: Question, order: Order) -> Question:
    """The question with its options in that order."""
    answer = order.index(question.answer) + 1 if question.answer else None
    return Question(question.passage, question.question, tuple(question.choices[at - 1] for at in order), answer)

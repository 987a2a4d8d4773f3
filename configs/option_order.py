"""The options of a question in another order: which of them may move, and where the answer is then."""

from __future__ import annotations

import re

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


def movable(question: Question) -> tuple[int, ...]:
    """Places, counted from 1, of the options that may change places: not blank, and not `以上皆是` or the like."""
    return tuple(
        place for place in question.answerable if not _SPEAKS_OF_OTHERS.match(question.choices[place - 1].strip())
    )


def reordered(question: Question, order: Order) -> Question:
    """The question with its options in that order."""
    answer = order.index(question.answer) + 1 if question.answer else None
    return Question(question.passage, question.question, tuple(question.choices[at - 1] for at in order), answer)

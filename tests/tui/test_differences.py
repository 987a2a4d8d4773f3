"""Where two texts part: in pieces a reader sees, and nothing of either text lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.compare.differences import differences

TEXTS = st.text(alphabet="ab 甲乙，\nབོད་ཡིག", max_size=40)


@given(TEXTS, TEXTS)
def test_the_parts_are_the_texts_and_what_they_share_is_the_same_on_both_sides(first: str, second: str) -> None:
    found = differences(first, second)
    assert "".join(text for text, _ in found.first) == first
    assert "".join(text for text, _ in found.second) == second
    shared = ["".join(text for text, only in parts if not only) for parts in (found.first, found.second)]
    assert shared[0] == shared[1]
    assert found.same is (first == second)
    assert 0 <= found.similarity <= 1
    assert first[: found.same_until] == second[: found.same_until]


def test_chinese_parts_by_characters_latin_by_words_tibetan_by_syllables() -> None:
    def only(first: str, second: str) -> list[str]:
        return [text for text, alone in differences(first, second).first if alone]

    assert only("答案是樹上。", "答案是河岸。") == ["樹上"]
    assert only("the forest here", "the foremost here") == ["forest"]
    assert only("བོད་ཡིག", "བོད་སྐད") == ["ཡིག"]


def test_long_texts_are_compared_by_lines() -> None:
    lines = [f"line {number} of many words" for number in range(1000)]
    found = differences("\n".join(lines), "\n".join([*lines[:500], "another", *lines[501:]]))
    assert [text for text, alone in found.second if alone] == ["another\n"]

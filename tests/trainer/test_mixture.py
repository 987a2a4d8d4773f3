"""Weights and the split: ratios kept, nothing repeated, versions of a text together, few rows or many."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import pytest

from configs.errors import ConfigError
from trainer.datasets.lengths import Lengths
from trainer.datasets.mixture import Choice, parse_source, quotas
from trainer.datasets.split import ending_of, opening_of, validation_groups, validation_rule, whole_of, wordings


def test_a_weight_follows_the_last_equals_sign(tmp_path: Path) -> None:
    assert parse_source("a=b.txt=1.5") == (Path("a=b.txt"), Fraction(3, 2))
    assert parse_source("a.txt") == (Path("a.txt"), None)
    odd = tmp_path / "x=3"
    odd.write_text("text", encoding="utf-8")
    assert parse_source(str(odd)) == (odd, None)
    for wrong in ("a.txt=0", "a.txt=-1", "a.txt=much", "a.txt=nan", "a.txt="):
        with pytest.raises(ConfigError, match="weight"):
            parse_source(wrong)


@pytest.mark.parametrize("weight", ["1e999999999", "1e-999999", "0." + "3" * 40, "nan", "-1", "0", "3/4", "inf"])
def test_a_weight_is_a_number_of_a_size_to_mix_by(weight: str) -> None:
    with pytest.raises(ConfigError, match=r"no such file, and '.+' is no weight"):
        parse_source(f"a.txt={weight}")


def test_quotas_keep_the_ratio_and_take_all_they_can() -> None:
    assert quotas([10, 100], [Fraction(3), Fraction(4)]) == [10, 13]
    assert quotas([300, 100], [Fraction(3), Fraction(4)]) == [75, 100]
    assert quotas([5, 7], [None, None]) == [5, 7]
    with pytest.raises(ConfigError, match="only some"):
        quotas([5, 7], [Fraction(1), None])


def test_a_choice_has_so_many_rows_each_as_likely_as_another() -> None:
    taken = [0] * 10
    for seed in range(2_000):
        choice = Choice(4, 10, str(seed))
        chosen = [choice.takes_next() for _ in range(10)]
        assert sum(chosen) == 4
        taken = [count + one for count, one in zip(taken, chosen, strict=True)]
    assert max(abs(count - 800) for count in taken) < 90  # four standard deviations


def test_the_share_is_met_as_near_as_groups_allow() -> None:
    counts = dict.fromkeys(range(10), 3)
    for seed in range(20):
        assert len(validation_groups(counts, 0.2, seed)) == 2
        assert len(validation_groups(counts, 0.25, seed)) in (2, 3)
    assert validation_groups({7: 10}, 0.2, 0) == set()
    assert validation_groups({7: 10, 8: 2}, 0.2, 0) == {8}


def test_versions_of_a_text_are_of_one_group() -> None:
    text = "春天來了，" + "山上的櫻花一棵接著一棵開。" * 10
    assert ending_of(text) == ending_of(f"\n{text}  ") == ending_of("開頭不同。" + text.replace("，", ", "))
    assert ending_of(text) != ending_of(text + "完")
    assert opening_of(text) == opening_of(text + "完") != opening_of("完" + text)


def test_an_ending_that_a_third_of_all_rows_share_is_a_wording() -> None:
    draw = random.Random(0)
    for shares, found in (((34, 35, 0), {1, 2}), ((33, 34, 0), {2}), ((33, 33, 33), set()), ((100, 0, 0), {1})):
        endings = [number for number, share in enumerate(shares, 1) for _ in range(share)]
        endings += range(10, 110 - len(endings))
        for _ in range(20):
            draw.shuffle(endings)
            assert wordings(lambda: endings) == found  # noqa: B023
    assert wordings(list) == set()


def test_a_whole_text_is_its_letters_and_digits() -> None:
    text = "春天來了，" * 100
    assert whole_of(text) == whole_of(f"\n{text}  ") == whole_of(text.replace("，", ", "))
    assert whole_of(text) != whole_of("完" + text)


def test_what_begins_or_ends_alike_falls_on_one_side() -> None:
    draw = random.Random(0)
    # Chains: row 2k and 2k+1 end alike, 2k+1 and 2k+2 begin alike, in chains of six; shuffled.
    texts = [(row // 2 + 1, (row + 1) // 2 + row // 6 * 1_000 + 1) for row in range(600)]
    draw.shuffle(texts)
    for seed in range(10):
        is_validation = validation_rule(lambda: texts, 600, 0.2, seed)
        sides: dict[str, set[bool]] = {}
        for group, opening in texts:
            for key in (f"end {group}", f"begin {opening}"):
                sides.setdefault(key, set()).add(is_validation(group))
        assert all(len(side) == 1 for side in sides.values())
        assert sum(is_validation(group) for group, _ in texts) == 120


def test_many_rows_are_split_by_ranges_near_to_the_share() -> None:
    groups = [ending_of(f"text {number // 2}") for number in range(4_000)]
    sides = []
    for seed in (0, 1):
        is_validation = validation_rule(lambda: ((group, 0) for group in groups), 4_000, 0.2, seed, few=100)
        sides.append([is_validation(group) for group in groups])
        assert abs(sum(sides[-1]) - 800) <= 2
    assert sides[0] != sides[1]


def test_lengths_are_told_from_a_histogram() -> None:
    lengths = Lengths()
    for length in range(1, 100_001):
        lengths.add(length)
    summary = lengths.summary()
    assert (summary["sum"], summary["mean"], summary["longest"]) == (5_000_050_000, 50_000.5, 100_000)
    for name, exact in (("median", 50_000), ("p90", 90_000), ("p99", 99_000)):
        assert summary[name] == pytest.approx(exact, rel=0.002)
    assert Lengths().summary()["median"] == 0

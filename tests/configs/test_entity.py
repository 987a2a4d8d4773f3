"""The wording of entities: shipped, of one's own, and wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.entity import EntityFormat
from configs.errors import ConfigError

OWN = """
name = "own"
template = "找出名字：{{ text }}"
entity = "{{ type }}={{ entity }}"
separator = "；"
none = "無"

[types]
PER = "人"
"""


def test_a_format_of_ones_own_writes_question_and_reply(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN, encoding="utf-8")
    own = EntityFormat.load(str(tmp_path / "own.toml"))
    assert [part["content"] for part in own.messages("甲和乙", [("甲", "PER"), ("乙", "PER"), ("甲", "PER")])] == [
        "找出名字：甲和乙",
        "人=甲；人=乙",
    ]
    assert own.reply([]) == "無"
    with pytest.raises(ValueError, match="unknown entity type 'LOC'; question format own has PER"):
        own.reply([("台北", "LOC")])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("{{ text }}", "", "leave out text"),
        ("{{ type }}=", "", "leave out type"),
        ("{{ text }}", "{{ txt }}", "does not render"),
        ('none = "無"', "", "none: field required"),
        ("separator", "mood = 1\nseparator", "mood: extra inputs"),
        ("name = ", "name ", "not valid TOML"),
        ('"人"', '"一\\n二"', "types: .*a printable word"),
        ('PER = "人"', "", "at least one type"),
    ],
)
def test_a_wrong_format_is_one_sentence(before: str, after: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        EntityFormat.load(str(tmp_path / "own.toml"))


def test_a_name_that_is_not_shipped_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"question format for entities 'nome'.*msra"):
        EntityFormat.load("nome")

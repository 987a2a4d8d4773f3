"""Every sentence the interface says, in the language it was told to speak."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tui.words.catalog import Catalog
from tui.words.english import ENGLISH
from tui.words.simplified import SIMPLIFIED
from tui.words.traditional import TRADITIONAL

LANGUAGES: dict[str, Catalog] = {"zh-Hant": TRADITIONAL, "zh-Hans": SIMPLIFIED, "en": ENGLISH}
APP_NAME = "lora2edge"

_TRADITIONAL_PLACES = ("tw", "hk", "mo", "hant")
_chosen = "en"


def words() -> Catalog:
    """The catalog of the chosen language."""
    return LANGUAGES[_chosen]


def language() -> str:
    """The chosen language, one of `LANGUAGES`."""
    return _chosen


def choose(name: str) -> None:
    """Speak this language, one of `LANGUAGES`."""
    global _chosen  # noqa: PLW0603  one interface a process
    _chosen = name


def language_of(environment: Mapping[str, str] = os.environ) -> str:
    """The language of the person's locale; English where there is no translation."""
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    tag = locale.partition(".")[0].lower().replace("-", "_")
    if not tag.startswith("zh"):
        return "en"
    return "zh-Hant" if any(place in tag.split("_") for place in _TRADITIONAL_PLACES) else "zh-Hans"

"""The keys, and those a person put in their place: `keys.toml` in the data folder.

[chat]
stop = "ctrl+g"
[prompt]
newline = ["ctrl+n", "shift+enter"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, did_you_mean
from tui.words import words
from tui.words.rows import Row

FILE_NAME = "keys.toml"

DEFAULTS = {
    "help": "f1", "quit": "ctrl+q",
    "prompt.send": "enter", "prompt.newline": "ctrl+j,shift+enter,alt+enter",
    "chat.stop": "escape", "chat.new": "ctrl+l", "chat.list": "ctrl+o", "chat.models": "f3", "chat.thoughts": "ctrl+t",
    "chat.up": "pageup", "chat.down": "pagedown", "chat.top": "ctrl+home", "chat.bottom": "ctrl+end",
    "message.before": "left_square_bracket", "message.after": "right_square_bracket", "message.edit": "e",
    "message.regenerate": "r", "message.copy": "c", "message.code": "y", "message.up": "up,k,shift+tab",
    "message.down": "down,j,tab", "message.leave": "escape",
    "chats.rename": "f2", "chats.export": "f4", "chats.delete": "delete",
    "compare.stop": "escape", "compare.marks": "f2", "compare.export": "f4", "compare.up": "pageup",
    "compare.down": "pagedown", "compare.top": "ctrl+home", "compare.bottom": "ctrl+end",
    "sheet.pause": "escape", "sheet.resume": "r", "sheet.filter_before": "left", "sheet.filter_after": "right,tab",
    "sheet.export": "f4",
    "exam.run": "space", "exam.stop": "escape", "exam.filter1": "1", "exam.filter2": "2", "exam.filter3": "3",
    "exam.filter4": "4", "exam.filter5": "5", "exam.filter_before": "left,shift+tab", "exam.filter_after": "right,tab",
    "exam.find": "slash", "exam.order": "o", "exam.details": "i", "exam.columns": "c", "exam.export": "e",
    "exam.choose": "ctrl+o", "exam.restart": "r",
}  # fmt: skip
"""What can have another key, and the keys it has."""

# Who is on the screen together: a key can have one meaning among them.
_TOGETHER = {
    "chat": ("prompt", "chat"),
    "message": ("message",),
    "chats": ("chats",),
    "compare": ("prompt", "compare"),
    "sheet": ("sheet",),
    "exam": ("exam",),
}
_EVERYWHERE = ("help", "quit")
_WITH_A_PROMPT = ("prompt", "chat", "compare", "chats")
# A terminal sends the same bytes for both.
_TWINS = {"ctrl+m": "Enter", "ctrl+i": "Tab", "ctrl+h": "Backspace", "ctrl+left_square_bracket": "Esc"}
_NAMED = frozenset(
    (
        "escape", "enter", "tab", "space", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown", "up",
        "down", "left", "right", "slash", "comma", "full_stop", "left_square_bracket", "right_square_bracket", "minus",
        "plus", "equals_sign", "semicolon",
    )
)  # fmt: skip
_KEY = re.compile(r"(?:(?:ctrl|alt|shift)\+)*(?:[a-z0-9]|f(?:[1-9]|1[0-9]|2[0-4])|[a-z_]{2,})")
_LABELS = {
    "escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn", "left_square_bracket": "[", "right_square_bracket": "]",
    "slash": "/", "delete": "Del", "backspace": "Backspace", "left": "←", "right": "→",
}  # fmt: skip

_chosen: Mapping[str, str] = {}


def read_keys(folder: Path) -> dict[str, str]:
    """What `keys.toml` says, action -> keys with commas between; nothing where there is no such file.

    Raises:
        ConfigError: it is not TOML, or names an unknown action, an unknown key, or one key for two actions.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    import tomllib

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    found = {action: _keys_in(value, action, path) for action, value in _flat(table).items()}
    _check_one_meaning(found, path)
    return found


def use_keys(keys: Mapping[str, str]) -> None:
    """Take these keys in the place of the defaults."""
    global _chosen  # noqa: PLW0603  one keyboard a process
    _chosen = dict(keys)


def chosen_keys() -> dict[str, str]:
    """Those that are not the default, as Textual's keymap has them."""
    return dict(_chosen)


def keys_of(action: str) -> tuple[str, ...]:
    """The keys of an action, by their names in Textual."""
    return tuple(_chosen.get(action, DEFAULTS[action]).split(","))


def keyed(rows: Sequence[Row], *scopes: str) -> tuple[Row, ...]:
    """Rows of keys and meanings, with the keys that the person chose.

    Args:
        scopes: whose actions the rows speak of, those that are meant first.
    """
    if not _chosen:
        return tuple(rows)
    actions = [name for scope in scopes for name in DEFAULTS if name.partition(".")[0] == scope] + [*_EVERYWHERE]
    labels: dict[str, str] = {}
    for action in actions:
        for default in DEFAULTS[action].split(","):
            labels.setdefault(label(default), label(keys_of(action)[0]) if action in _chosen else label(default))
    return tuple(("  ".join(labels.get(part, part) for part in keys.split("  ")), meaning) for keys, meaning in rows)


def label(key: str) -> str:
    """A key as people write it: `ctrl+q` is Ctrl+Q."""
    *held, last = key.split("+")
    shown = _LABELS.get(last) or (last.upper() if len(last) == 1 or re.fullmatch(r"f\d+", last) else last.capitalize())
    return "+".join([*(name.capitalize() for name in held), shown])


def how_to_quit() -> str:
    """The sentence that names the key."""
    return words().how_to_quit.format(key=label(keys_of("quit")[0]))


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`[chat] stop = …` and `"chat.stop" = …` are the same."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _keys_in(value: object, action: str, path: Path) -> str:
    if action not in DEFAULTS:
        raise ConfigError(
            f"{path}: there is no action '{action}'",
            hint=did_you_mean(action, DEFAULTS, f"there are {', '.join(DEFAULTS)}"),
        )
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise ConfigError(f"{path}: {action} needs a key, or a list of keys", hint=f'{action} = "ctrl+g"')
    return ",".join(_key(key, action, path) for key in keys)


def _key(written: str, action: str, path: Path) -> str:
    key = written.strip().lower()
    last = key.rpartition("+")[2]
    if not _KEY.fullmatch(key) or (len(last) > 1 and last not in _NAMED and not re.fullmatch(r"f\d+", last)):
        raise ConfigError(
            f"{path}: {action}: there is no key '{written}'", hint="keys are written ctrl+g, f5, pageup, e, space"
        )
    if key in _TWINS:
        raise ConfigError(f"{path}: {action}: a terminal cannot tell {label(key)} from {_TWINS[key]}")
    if action.partition(".")[0] in (*_WITH_A_PROMPT, *_EVERYWHERE) and (len(key) == 1 or key == "space"):
        raise ConfigError(f"{path}: {action}: {label(key)} is needed for writing", hint="hold Ctrl, or take F2 … F12")
    return key


def _check_one_meaning(found: Mapping[str, str], path: Path) -> None:
    for scopes in _TOGETHER.values():
        taken: dict[str, str] = {}
        for action in DEFAULTS:
            if action not in _EVERYWHERE and action.partition(".")[0] not in scopes:
                continue
            for key in found.get(action, DEFAULTS[action]).split(","):
                other = taken.setdefault(key, action)
                if other != action:
                    raise ConfigError(
                        f"{path}: {label(key)} would be both {other} and {action}", hint="give one of them another key"
                    )

"""The four commands as a person starts them: help, versions of the truth in COMMANDS, exit codes of wrong words."""

from __future__ import annotations

import re

import pytest

from tests.tiny import run_cli

COMMANDS = {
    "trainer": {"prepare", "preview", "vocab", "plan", "fit"},
    "exporter": {"merge", "adapter", "quantize", "inspect", "verify"},
    "runtime": {"predict", "merge-shards", "generate", "evaluate", "chat", "bench"},
    "tui": {"chat", "predict", "compare"},
}


@pytest.mark.parametrize("room", COMMANDS)
def test_help_lists_the_commands_and_no_others(room):
    code, out, err = run_cli(f"{room}.cli", "--help")
    assert code == 0
    assert err == ""
    listed = re.findall(r"^    (\w[\w-]*)\b", out, re.MULTILINE)
    assert set(listed) == COMMANDS[room]


@pytest.mark.parametrize(
    ("room", "command"), [(room, command) for room, commands in COMMANDS.items() for command in sorted(commands)]
)
def test_every_command_explains_itself(room, command):
    code, out, _ = run_cli(f"{room}.cli", command, "--help")
    assert code == 0
    assert "--debug" in out
    for option in re.findall(r"^  (--[\w-]+)", out, re.MULTILINE):
        assert re.search(rf"^  {option}\b.*(?:\n {{6,}}\S.*|  \S.*)", out, re.MULTILINE), f"{option} has no help"


@pytest.mark.parametrize("room", COMMANDS)
def test_wrong_words_exit_2(room):
    assert run_cli(f"{room}.cli", "no-such-command")[0] == 2
    assert run_cli(f"{room}.cli")[0] == 2

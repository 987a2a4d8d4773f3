"""A conversation: history, budget, stopping; with a scripted engine."""

from __future__ import annotations

import pytest

from configs.errors import ToolError
from runtime.chat import ChatSession
from runtime.interface import ModelOptions, Sampling
from runtime.scripted import ScriptedEngine


def prompt_text(engine: ScriptedEngine, number: int = -1) -> str:
    return "".join(chr(token) if token < 0x110000 else "|" for token in engine.prompts[number])


def test_the_history_goes_into_the_next_prompt() -> None:
    engine = ScriptedEngine([" 你好。", "再見。"])
    session = ChatSession(engine, system="簡短")
    assert "".join(session.ask("嗨")) == "你好。"
    assert "".join(session.ask("走了")) == "再見。"
    assert [message["content"] for message in session.history] == ["嗨", "你好。", "走了", "再見。"]
    assert prompt_text(engine) == "|[INST] <<SYS>>\n簡短\n<</SYS>>\n\n嗨 [/INST] 你好。||[INST] 走了 [/INST]"
    assert session.context_used == len(engine.prompts[-1]) + 3


def test_without_a_system_text_the_formats_own_is_used() -> None:
    engine = ScriptedEngine(["ok"])
    "".join(ChatSession(engine).ask("嗨"))
    assert engine.formats.prompt.system in prompt_text(engine)


def test_a_stopped_reply_keeps_what_arrived() -> None:
    session = ChatSession(ScriptedEngine(["一二三四五"]))
    reply = session.ask("數")
    for _ in reply:
        if len(reply.text) == 2:
            reply.stop()
    assert reply.finish == "cancelled"
    assert session.history[-1] == {"role": "assistant", "content": "一二"}


def test_a_reply_stopped_before_its_first_character_leaves_no_trace() -> None:
    session = ChatSession(ScriptedEngine(["一二三"]))
    reply = session.ask("數")
    reply.stop()
    assert list(reply) == []
    assert session.history == []
    assert "".join(session.ask("再數")) == "一二三"


def test_an_abandoned_iteration_settles_too() -> None:
    session = ChatSession(ScriptedEngine(["一二三"]))
    pieces = iter(session.ask("數"))
    next(pieces)
    pieces.close()
    assert [message["content"] for message in session.history] == ["數", "一"]


def test_an_error_keeps_what_arrived_and_the_session_lives() -> None:
    engine = ScriptedEngine(["一二三四"], error="the engine failed")
    session = ChatSession(engine)
    with pytest.raises(ToolError, match="the engine failed"):
        "".join(session.ask("數"))
    assert session.history[-1]["content"] == "一二"
    engine.error = ""
    assert "".join(session.ask("再數")) == "一二三四"


def test_the_oldest_turns_are_dropped_and_counted() -> None:
    engine = ScriptedEngine(["好"], context_size=300)
    session = ChatSession(engine, system="s", sampling=Sampling(max_tokens=20))
    dropped = []
    for number in range(12):
        reply = session.ask(f"{number:02d}" + "x" * 40)
        "".join(reply)
        dropped.append(reply.dropped_turns)
        assert len(engine.prompts[-1]) <= 280
        assert f"{number:02d}x" in prompt_text(engine)
        assert "<<SYS>>\ns\n" in prompt_text(engine)
    assert dropped[0] == 0
    assert dropped == sorted(dropped)
    assert dropped[-1] > 3
    assert len(session.history) == 24


def test_who_asks_beforehand_is_told_what_will_be_dropped() -> None:
    engine = ScriptedEngine(["好"], context_size=300)
    session = ChatSession(engine, system="s", sampling=Sampling(max_tokens=20))
    dropped = 0
    for number in range(12):
        text = f"{number:02d}" + "x" * 40
        announced = session.will_drop(text)
        assert session.will_drop(text) == announced, "asking changes nothing"
        reply = session.ask(text)
        "".join(reply)
        dropped += announced
        assert reply.dropped_turns == dropped
    assert dropped > 3
    with pytest.raises(ToolError, match="--ctx-size"):
        session.will_drop("x" * 400)


def test_a_message_longer_than_the_context_is_refused_and_forgotten() -> None:
    session = ChatSession(ScriptedEngine(["好"], context_size=300))
    "".join(session.ask("短"))
    with pytest.raises(ToolError, match="--ctx-size"):
        session.ask("x" * 400)
    assert len(session.history) == 2
    assert "".join(session.ask("短")) == "好"


def test_two_replies_at_once_are_refused_and_reset_ends_one() -> None:
    session = ChatSession(ScriptedEngine(["一二三"]))
    reply = session.ask("數")
    with pytest.raises(ToolError, match="has not ended"):
        session.ask("再")
    session.reset()
    assert list(reply) == []
    assert session.history == []
    assert "".join(session.ask("數")) == "一二三"


def test_a_reply_that_ends_after_a_reset_does_not_touch_the_next_one() -> None:
    session = ChatSession(ScriptedEngine(["一二三", "四五六"]))
    old = iter(session.ask("數"))
    next(old)
    session.reset()
    new = session.ask("再數")
    old.close()
    assert "".join(new) == "四五六"
    assert [message["content"] for message in session.history] == ["再數", "四五六"]


def test_max_tokens_ends_a_reply() -> None:
    session = ChatSession(ScriptedEngine(["一二三四五"]), sampling=Sampling(max_tokens=2))
    reply = session.ask("數")
    assert "".join(reply) == "一二"
    assert (reply.finish, reply.tokens) == ("length", 2)


def test_the_formats_stops_end_a_reply() -> None:
    assert "".join(ChatSession(ScriptedEngine(["好</s>不"])).ask("嗨")) == "好"


def test_a_scripted_load_reports_and_can_be_given_up() -> None:
    from pathlib import Path

    seen: list[float] = []
    engine = ScriptedEngine(["好"])
    assert engine.load(ModelOptions(Path("m.gguf")), on_progress=lambda share: seen.append(share) or True) is engine
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    with pytest.raises(ToolError):
        engine.load(ModelOptions(Path("m.gguf")), on_progress=lambda _: False)

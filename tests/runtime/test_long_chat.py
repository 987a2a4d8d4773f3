"""300 turns with a real model: the context overflows again and again, and memory stays where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.formats import Formats
from runtime.chat import ChatSession
from runtime.engine import ModelOptions, Sampling, load_engine

STATUS = Path("/proc/self/status")
TURNS = 300
GROWTH_BYTES = 8 << 20


def resident_bytes() -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_300_turns_leave_memory_flat_and_every_overflow_is_announced(models: Path, formats: Formats) -> None:
    engine = load_engine(ModelOptions(models / "model.gguf", ctx_size=512, threads=1))
    session = ChatSession(engine, system="s", sampling=Sampling(temperature=1.0, max_tokens=24, seed=1))
    overflows = warm = 0
    for turn in range(TURNS):
        text = f"志明今天第{turn}次說到什麼？"
        announced = session.will_drop(text)
        before = session._seen_from()
        reply = session.ask(text)
        "".join(reply)
        assert reply.dropped_turns == before + announced
        assert reply.prompt_tokens + reply.tokens <= 512 + 1
        overflows += announced > 0
        if turn == TURNS // 3:
            warm = resident_bytes()
    growth = resident_bytes() - warm
    engine.close()
    assert overflows > 10
    assert len(session.history) > TURNS
    assert growth < GROWTH_BYTES, f"memory grew by {growth:,} bytes over the last {TURNS * 2 // 3} turns"

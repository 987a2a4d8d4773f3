"""Several replies on one cache: they advance together, give their cells back, wait for room, and reuse what is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import ToolError
from runtime.interface import ModelOptions, Sampling
from runtime.llama_cells import GenerationContext
from runtime.llama_model import LlamaModel
from runtime.llama_reply import Reply
from runtime.llama_scheduler import CHUNK, Scheduler
from runtime.llama_slots import BLOCK
from runtime.models import plan_model

WARM = Sampling(temperature=1.0, top_k=0, top_p=1.0, repeat_penalty=1.0, max_tokens=1000)


@pytest.fixture(scope="module")
def model(models: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(plan_model(ModelOptions(models / "model.gguf")))
    yield model
    model.free()


class Bench:
    """A scheduler driven step by step in this thread."""

    def __init__(self, model: LlamaModel, *, parallel: int = 3, cells: int = 2048, size: int = 2048) -> None:
        self.model = model
        self.scheduler = Scheduler(lambda: self.context, parallel)
        self.context = GenerationContext(
            model, size=size, cells=cells, slots=parallel + 3, threads=1, aborted=lambda: self.scheduler.aborted
        )

    def submit(self, prompt: list[int], sampling: Sampling = WARM, grammar: str | None = None) -> Reply:
        # A reply that the model ends itself would make these tests depend on its weights.
        reply = Reply(prompt, sampling, self.model, grammar)
        reply._vocabulary = Endless(self.model)
        self.scheduler.submit(reply)
        return reply

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.scheduler.step()

    def finish(self) -> None:
        for _ in range(20_000):
            if self.scheduler.idle:
                return
            self.scheduler.step()
        raise AssertionError("the scheduler does not come to an end")


class Endless:
    def __init__(self, model: LlamaModel) -> None:
        self.piece = model.vocabulary.piece

    def ends_reply(self, token: int) -> bool:
        return False


@pytest.fixture
def bench(model: LlamaModel) -> Iterator[Bench]:
    bench = Bench(model)
    yield bench
    bench.scheduler.end_all()
    bench.context.free()


def prompt(length: int, seed: int = 0) -> list[int]:
    return [1, *(300 + (seed * 97 + at * 31) % 300 for at in range(length - 1))]


def drawn(reply: Reply) -> list[int]:
    return reply.ids[reply.stream.prompt_tokens :]


def test_two_write_while_a_third_is_read_and_all_advance(bench: Bench) -> None:
    first, second = bench.submit(prompt(20, 1)), bench.submit(prompt(20, 2))
    bench.steps(4)
    third = bench.submit(prompt(10 * CHUNK, 3))
    before = [reply.stream.tokens for reply in (first, second)]
    for step in range(1, 11):
        bench.steps(1)
        assert [first.stream.tokens, second.stream.tokens] == [count + step for count in before]
        assert len(third.slot.tokens) == step * CHUNK
    assert third.stream.tokens == 1


def test_where_nobody_writes_a_prompt_is_read_in_whole_blocks(bench: Bench) -> None:
    first, second = bench.submit(prompt(3 * BLOCK, 1)), bench.submit(prompt(3 * BLOCK, 2))
    bench.steps(2)
    assert (len(first.slot.tokens), len(second.slot.tokens)) == (2 * BLOCK, 0)
    bench.steps(2)
    assert (first.stream.tokens, len(second.slot.tokens)) == (2, CHUNK)


def test_a_cancelled_reply_gives_its_cells_to_the_others_at_once(bench: Bench) -> None:
    kept, stopped = bench.submit(prompt(20, 1)), bench.submit(prompt(600, 2))
    bench.steps(3)
    assert bench.context.used > 50
    stopped.stream.cancel()
    bench.steps(1)
    assert stopped.stream.finish == "cancelled"
    assert bench.context.used == len(kept.slot.tokens)


def test_a_cancelled_chat_keeps_its_prompt_for_the_next_turn(bench: Bench) -> None:
    reply = bench.submit(prompt(100, 1))
    bench.steps(5)
    reply.stream.cancel()
    bench.steps(1)
    assert bench.context.used > 100
    following = bench.submit([*prompt(100, 1), 300, 301])
    bench.steps(1)
    assert following.stream.tokens == 1


def test_a_cancelled_prefill_is_aborted_and_nothing_of_the_batch_stays(bench: Bench) -> None:
    writer = bench.submit(prompt(20, 1))
    bench.steps(3)
    reader = bench.submit(prompt(500, 2))
    bench.steps(2)
    reader.stream.cancel()
    assert bench.scheduler.aborted
    tokens = writer.stream.tokens
    bench.steps(2)
    assert reader.stream.finish == "cancelled"
    assert writer.stream.tokens == tokens + 2


def test_more_replies_than_places_wait_in_line(bench: Bench) -> None:
    replies = [bench.submit(prompt(30, seed), replace(WARM, max_tokens=5)) for seed in range(7)]
    bench.steps(1)
    assert len(bench.scheduler.running) == 3
    bench.finish()
    assert [reply.stream.finish for reply in replies] == ["length"] * 7
    assert [reply.stream.tokens for reply in replies] == [5] * 7


def test_a_full_cache_sends_the_newest_back_and_nothing_is_lost(model: LlamaModel) -> None:
    greedy = replace(WARM, temperature=0.0, max_tokens=180)
    alone = Bench(model, cells=512, size=512)
    wanted = []
    for seed in (1, 2):
        reply = alone.submit(prompt(100, seed), greedy)
        alone.finish()
        wanted.append(drawn(reply))
    alone.context.free()
    tight = Bench(model, cells=512, size=512)
    first, second = (tight.submit(prompt(100, seed), greedy) for seed in (1, 2))
    sent_back = 0
    while not tight.scheduler.idle:
        tight.steps(1)
        sent_back += len(tight.scheduler.waiting) == 1 and second.stream.tokens > 0
        assert tight.context.used <= 512
    tight.context.free()
    assert sent_back, "the cache never filled up"
    assert [reply.stream.finish for reply in (first, second)] == ["length", "length"]
    assert [len(drawn(reply)) for reply in (first, second)] == [180, 180]
    assert [drawn(reply)[0] for reply in (first, second)] == [tokens[0] for tokens in wanted]


def test_a_seeded_reply_alone_is_the_same_whatever_the_cache_holds(bench: Bench) -> None:
    seeded = replace(WARM, seed=3, max_tokens=40)
    long = prompt(2 * BLOCK + 40, 1)
    reply = bench.submit(long, seeded)
    bench.finish()
    wanted = drawn(reply)
    for other in ([*long[: BLOCK + 20], *prompt(300, 5)], prompt(200, 6), long, long[:50]):
        bench.submit(other, replace(WARM, max_tokens=7))
        bench.finish()
        again = bench.submit(long, seeded)
        bench.finish()
        assert drawn(again) == wanted


def test_a_seeded_reply_reuses_whole_blocks_of_its_prompt(bench: Bench) -> None:
    long = prompt(2 * BLOCK + 40, 1)
    bench.submit(long, replace(WARM, seed=3, max_tokens=3))
    bench.finish()
    bench.submit(long, replace(WARM, seed=4, max_tokens=3))
    bench.scheduler._admit()
    assert len(bench.scheduler.running[0].slot.tokens) == 2 * BLOCK


def test_a_chats_next_turn_evaluates_only_what_is_new(bench: Bench) -> None:
    first = bench.submit(prompt(150, 1), replace(WARM, max_tokens=20))
    bench.finish()
    bench.submit([*first.ids, 300, 301, 302], WARM)
    bench.scheduler._admit()
    assert bench.scheduler.running[0].pending == 4  # the last drawn token was never evaluated


def test_a_running_prompts_start_is_shared_not_evaluated_again(bench: Bench) -> None:
    shared = prompt(200, 1)
    first = bench.submit([*shared, 300])
    bench.steps(4)
    second = bench.submit([*shared, 301, 302])
    bench.steps(1)
    assert first.stream.tokens == 4
    assert second.stream.tokens == 1, "two tokens were new, one small batch suffices"


def test_idle_cells_make_way_the_longest_unused_first(model: LlamaModel) -> None:
    bench = Bench(model, cells=768, size=768)
    few = replace(WARM, max_tokens=2)
    for seed in (1, 2):
        bench.submit(prompt(250, seed), few)
        bench.finish()
    bench.submit(prompt(400, 3), few)
    bench.finish()
    held = [slot.tokens[1] for slot in bench.context.slots if slot.tokens]
    bench.context.free()
    assert sorted(held) == sorted([prompt(2, 2)[1], prompt(2, 3)[1]])


def test_a_context_that_cannot_be_made_fails_the_reply_and_not_the_thread(model: LlamaModel) -> None:
    def no_memory() -> GenerationContext:
        raise ToolError("no memory")

    scheduler = Scheduler(no_memory, 1)
    reply = Reply(prompt(5), WARM, model, None)
    scheduler.submit(reply)
    scheduler.step()
    assert scheduler.idle
    with pytest.raises(ToolError, match="no memory"):
        list(reply.stream)


def test_whatever_fails_the_reader_is_told_and_the_next_reply_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(bench.context, "take", lambda *_args, **_flags: 1 / 0)
        reply = bench.submit(prompt(5))
        bench.steps(2)
        with pytest.raises(ZeroDivisionError):
            list(reply.stream)
    assert bench.scheduler.idle
    following = bench.submit(prompt(5), replace(WARM, max_tokens=2))
    bench.finish()
    assert following.stream.finish == "length"

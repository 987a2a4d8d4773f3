"""Ids of raw text, kept beside the dataset: encoded once, by one process, and never taken half."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests import tiny
from trainer.blocks import TextBlocks

TEXTS = ["春天" * 9, "秋", "冬天來了，" * 5, "夏"]


class Encoder:
    """Ids are the characters' code points; counts what it is asked."""

    def __init__(self, seconds: float = 0) -> None:
        self.asked: list[str] = []
        self._seconds = seconds

    def __call__(self, text: str) -> list[int]:
        time.sleep(self._seconds)
        self.asked.append(text)
        return list(map(ord, text))


def blocks(encode: Encoder, kept: Path | None, length: int = 8) -> list[tuple[str, list[int]]]:
    with TextBlocks(length, encode, kept) as texts:
        for number, text in enumerate(TEXTS):
            texts.add(str(number), text)
        return [(name, list(ids)) for name, ids in texts.blocks()]


def test_a_second_run_encodes_nothing_and_has_the_same_blocks(tmp_path: Path) -> None:
    encode, kept = Encoder(), tmp_path / "tokens" / "1.ids"
    wanted = blocks(encode, None)
    assert "".join(chr(id_) for _, ids in wanted for id_ in ids) == "".join(TEXTS)
    assert blocks(encode, kept) == wanted
    encode.asked.clear()
    assert blocks(encode, kept) == wanted
    assert blocks(encode, kept, length=5) == blocks(Encoder(), None, length=5)
    assert encode.asked == []


def test_a_run_that_fails_keeps_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "tokens" / "1.ids"
    with pytest.raises(KeyError), TextBlocks(8, Encoder(), kept) as texts:
        texts.add("0", "春")
        raise KeyError
    assert [path.suffix for path in kept.parent.iterdir()] == [".lock"]


@pytest.mark.parametrize("size", [0, 3, 40, -1])
def test_a_torn_file_is_made_again(tmp_path: Path, size: int) -> None:
    kept, wanted = tmp_path / "tokens" / "1.ids", blocks(Encoder(), None)
    blocks(Encoder(), kept)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:size])
    encode = Encoder()
    assert blocks(encode, kept) == wanted
    assert encode.asked == TEXTS
    assert kept.read_bytes() == whole


def test_of_several_at_once_one_encodes_and_the_others_wait(tmp_path: Path) -> None:
    encode, found = Encoder(seconds=0.02), []
    kept = tmp_path / "1.ids"
    threads = [threading.Thread(target=lambda: found.append(blocks(encode, kept))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encode.asked == TEXTS
    assert found == [blocks(Encoder(), None)] * 3


@pytest.mark.slow
def test_fit_keeps_the_ids_for_its_next_run_and_prepare_lets_them_go(tmp_path: Path, tiny_base: Path) -> None:
    corpus, data = tmp_path / "corpus.txt", tmp_path / "data"
    corpus.write_text("".join(f"{question.passage}\n" for question in tiny.questions(60)), encoding="utf-8")
    assert tiny.run_cli("trainer.cli", "prepare", corpus, "--output", data)[0] == 0
    short = ("training.steps=1", "training.accumulation=1", "training.max_length=64", "evaluation.rows=4")
    words = ["--model", tiny_base, "--data", data, "--deepspeed", "none"]
    words += [word for setting in short for word in ("--set", setting)]
    assert tiny.run_cli("trainer.cli", "fit", *words, "--output", tmp_path / "a")[0] == 0
    kept = sorted((data / "tokens").glob("*.ids"))
    assert len(kept) == 2  # training and validation rows
    written = [path.stat().st_mtime_ns for path in kept]
    assert tiny.run_cli("trainer.cli", "fit", *words, "--output", tmp_path / "b")[0] == 0
    assert [path.stat().st_mtime_ns for path in sorted((data / "tokens").glob("*.ids"))] == written
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    code, out, _ = tiny.run_cli(
        "trainer.cli", "prepare", corpus, "--output", data, "--seed", 1, "--overwrite", "--json"
    )
    assert (code, json.loads(out)["seed"]) == (0, 1)
    assert not (data / "tokens").exists()

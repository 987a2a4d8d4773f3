"""Makes the demo's base model from nothing: a Llama of 0.8 M parameters that reads Chinese of the small world.

Run as a program (by run.py): python pretrain.py OUTPUT HELD_OUT.xlsx --seed 0 --steps 900
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Protocol

import sentencepiece
import torch
from documents import Document, Library, Vocabulary
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM
from vocabulary import train_tokenizer

from configs.atomic import staged_folder
from configs.formats import FORMAT_FILE, Formats
from configs.progress import Progress, Shower
from configs.sheets import read_questions

BATCH = 24
PEAK_RATE = 2e-3
WARMUP = 40
CONTEXT = 2_048


def make_base(folder: Path, held_out: frozenset[str], *, seed: int, steps: int) -> None:
    """Train tokenizer and model, and write them as a Hugging Face folder."""
    formats = Formats.load("alpaca2", "formosa")
    with staged_folder(folder) as staged:
        pieces = train_tokenizer(staged / "tokenizer.model", formats, seed=seed)
        model = train(pieces, Library(formats, Vocabulary(pieces), held_out, seed), seed=seed, steps=steps)
        write_model(model, formats, staged)


def write_model(model: LlamaForCausalLM, formats: Formats, folder: Path) -> None:
    """Write all of a base folder but its tokenizer.model."""
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / FORMAT_FILE).write_text(formats.to_toml(), encoding="utf-8")
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | special, indent=2), encoding="utf-8")


class Documents(Protocol):
    """Where training texts come from."""

    def document(self) -> Document:
        """The next one."""
        ...


def train(
    pieces: sentencepiece.SentencePieceProcessor, library: Documents, *, seed: int, steps: int
) -> LlamaForCausalLM:
    """A model of the demo's size that has read `steps` batches of documents."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=pieces.vocab_size(),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            initializer_range=0.08,
            tie_word_embeddings=False,
            use_cache=False,
            bos_token_id=pieces.bos_id(),
            eos_token_id=pieces.eos_id(),
            pad_token_id=None,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    shower = Shower("base model")
    for step in range(steps):
        loss = _loss(model, [library.document() for _ in range(BATCH)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        shower.show(Progress(step + 1, steps, "steps", f"loss {loss.item():.3f}"))
    shower.finish()
    model.config.use_cache = True
    return model


def _rate(step: int, steps: int) -> float:
    """Share of the peak rate: linear warm-up, constant until 60 % of the steps, then linear down to 5 %."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 1.0 - 0.95 * max(0.0, (step / steps - 0.6) / 0.4)


def _loss(model: LlamaForCausalLM, documents: list[Document]) -> torch.Tensor:
    """Weighted cross-entropy of the next token over a padded batch."""
    length = max(len(document.ids) for document in documents)
    ids = torch.tensor([document.ids + [0] * (length - len(document.ids)) for document in documents])
    weights = torch.tensor([document.weights + [0.0] * (length - len(document.weights)) for document in documents])
    # Padding stands right of everything that counts, and attention looks left only: no mask is needed.
    logits = model(input_ids=ids[:, :-1]).logits
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()


def main() -> int:
    """Command line of the only private step of the demo."""
    parser = argparse.ArgumentParser(description="Make the demo's base model.")
    parser.add_argument("output", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    args = parser.parse_args()
    # Matrices this small lose time to a second thread.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    sheet = read_questions(args.held_out, need_answers=True)
    held_out = frozenset(row.question.passage for row in sheet.rows if row.question)
    make_base(args.output, held_out, seed=args.seed, steps=args.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())

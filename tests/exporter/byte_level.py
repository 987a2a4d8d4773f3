"""Tiny models with byte-level BPE vocabularies, in the manner of Qwen and Llama 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.formats import FORMAT_FILE, Formats
from tests.tiny import _SEEN, questions

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST

CHATML_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3_SPECIALS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
]  # fmt: skip


def pre_tokenizer(kind: str) -> Any:
    """A pre-tokenizer as the models of that kind have it."""
    from tokenizers import Regex, pre_tokenizers

    levels = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind in ("gpt-2", "smollm"))
    if kind == "gpt-2":
        return levels
    if kind == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), levels])
    pattern = QWEN2 if kind == "qwen2" else LLAMA3
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), levels])


def tokenizer(folder: Path, kind: str, *, specials: list[str], size: int = 700) -> int:
    """Train folder/tokenizer.json; returns its number of tokens."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, processors, trainers

    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizers.Tokenizer(models.BPE(ignore_merges=kind == "llama-bpe"))
    made.pre_tokenizer, made.decoder = pre_tokenizer(kind), decoders.ByteLevel()
    if kind == "qwen2":
        made.normalizer = normalizers.NFC()
    corpus = [question.passage + question.question for question in questions(120)]
    corpus += ["I've seen the 12345 cats; THEY'RE fine, it's 2024.\n\n  def f(x):\n\treturn x", _SEEN] * 20
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens(specials)
    bos = specials[0]
    if kind == "llama-bpe":
        made.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, made.token_to_id(bos))]
                ),
            ]
        )
    else:
        made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.save(str(folder / "tokenizer.json"))
    return int(made.get_vocab_size())


def settings(kind: str) -> dict[str, object]:
    """What a tokenizer_config.json of that kind says."""
    if kind == "llama-bpe":
        return {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    return {"add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def model(
    folder: Path,
    architecture: str,
    *,
    kind: str = "",
    layers: int = 2,
    sharp: float = 1.0,
    spare_rows: int = 0,
    tied: bool = False,
    **values: Any,
) -> Path:
    """A random model of Qwen2, Qwen3 or Llama 3 in Hugging Face layout, with its tokenizer and prompt format.

    Args:
        kind: of pre-tokenizer; by default the architecture's own.
        sharp: factor on q and k: attention that looks at one place shows positions that are off.
        spare_rows: rows of the embeddings beyond the last token.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = kind or ("llama-bpe" if architecture == "llama" else "qwen2")
    specials = LLAMA3_SPECIALS if kind == "llama-bpe" else CHATML_SPECIALS
    size = tokenizer(folder, kind, specials=specials)
    table: dict[str, Any] = {
        "vocab_size": size + spare_rows, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.08,
        "tie_word_embeddings": tied, "bos_token_id": size - len(specials), "eos_token_id": size - 1,
    }  # fmt: skip
    config = AutoConfig.for_model(architecture, **(table | values))
    torch.manual_seed(1)
    made = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias") or "_norm" in name or "norm." in name:  # transformers starts them at 0 and 1
                parameter += 0.2 * torch.randn_like(parameter)
            if "q_proj" in name or "k_proj" in name:
                parameter *= sharp
    made.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings(kind)))
    formats = Formats.load("llama3" if kind == "llama-bpe" else "chatml", "formosa")
    (folder / FORMAT_FILE).write_text(formats.to_toml(), encoding="utf-8")
    return folder

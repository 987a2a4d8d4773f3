"""Tiny Llama GGUFs with random weights and a real SentencePiece vocabulary, written with PyPI's gguf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.formats import Formats

HIDDEN, LAYERS, HEADS, KV_HEADS, FEED = 64, 2, 4, 2, 160


def model(
    path: Path,
    vocab_model: Path,
    *,
    seed: int = 0,
    formats: Formats | None = None,
    context: int = 2048,
    scale: float = 0.2,
    q4_0: bool = False,
    change: Callable[[Any], object] = lambda writer: None,
) -> Path:
    """Write a random f32 or q4_0 model; `formats` are put into its metadata where given, and `change` may add to it."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_type("model")
    writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    size = _add_vocabulary(writer, vocab_model)
    writer.add_vocab_size(size)
    for key, text in (formats.gguf_keys() if formats else {}).items():
        writer.add_string(key, text)
    change(writer)
    draw = np.random.default_rng(seed)
    for name, shape in _shapes(size).items():
        values = draw.standard_normal(shape, dtype=np.float32) * scale
        if q4_0 and "norm" not in name:
            kind = gguf.GGMLQuantizationType.Q4_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, np.ones(shape, np.float32) if "norm" in name else values)
    return _close(writer, path)


def adapter(path: Path, *, seed: int = 0, formats: Formats | None = None, hidden: int = HIDDEN, rank: int = 4) -> Path:
    """Write a random LoRA adapter on q and the feed-forward's down projection of every layer."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 6.0)
    for key, text in (formats.gguf_keys() if formats else {}).items():
        writer.add_string(key, text)
    draw = np.random.default_rng(seed)
    for layer in range(LAYERS):
        for name, size_in in (("attn_q", hidden), ("ffn_down", FEED)):
            writer.add_tensor(
                f"blk.{layer}.{name}.weight.lora_a", draw.standard_normal((rank, size_in), dtype=np.float32) * 0.3
            )
            writer.add_tensor(
                f"blk.{layer}.{name}.weight.lora_b", draw.standard_normal((hidden, rank), dtype=np.float32) * 0.3
            )
    return _close(writer, path)


def _add_vocabulary(writer: object, vocab_model: Path) -> int:
    import gguf
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocab_model))
    size = pieces.vocab_size()
    kinds = [
        gguf.TokenType.UNKNOWN
        if pieces.is_unknown(i)
        else gguf.TokenType.CONTROL
        if pieces.is_control(i)
        else gguf.TokenType.BYTE
        if pieces.is_byte(i)
        else gguf.TokenType.NORMAL
        for i in range(size)
    ]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i).encode() for i in range(size)])
    writer.add_token_scores([pieces.get_score(i) for i in range(size)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    return size


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    key_width = HIDDEN // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "output.weight": (vocabulary, HIDDEN),
    }
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes |= {
            f"{block}attn_norm.weight": (HIDDEN,),
            f"{block}attn_q.weight": (HIDDEN, HIDDEN),
            f"{block}attn_k.weight": (key_width, HIDDEN),
            f"{block}attn_v.weight": (key_width, HIDDEN),
            f"{block}attn_output.weight": (HIDDEN, HIDDEN),
            f"{block}ffn_norm.weight": (HIDDEN,),
            f"{block}ffn_gate.weight": (FEED, HIDDEN),
            f"{block}ffn_up.weight": (FEED, HIDDEN),
            f"{block}ffn_down.weight": (HIDDEN, FEED),
        }
    return shapes


def _close(writer: object, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

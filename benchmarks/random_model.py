"""Random models for benchmarks: a Llama of any size in q4_0, written in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import sentencepiece

from configs.formats import Formats


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama without grouped heads."""

    hidden: int
    feed: int
    layers: int
    heads: int


SMALL = Shape(1024, 2816, 24, 16)
SEVEN_B = Shape(4096, 11008, 32, 32)


def write_model(path: Path, vocabulary: Path, shape: Shape, formats: Formats | None = None) -> Path:
    """Write a random model in q4_0; all layers hold the same values, which costs no less to compute.

    Args:
        vocabulary: a SentencePiece tokenizer.model.
        formats: put into the file, as `exporter merge` does.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_context_length(4096)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    size = add_vocabulary(writer, vocabulary)
    for key, text in (formats.gguf_keys() if formats else {}).items():
        writer.add_string(key, text)
    made: dict[tuple[int, int], np.ndarray] = {}
    draw = np.random.default_rng(0)
    for name, wide in tensors(size, shape):
        if len(wide) == 1:
            writer.add_tensor(name, np.ones(wide, np.float32))
            continue
        if wide not in made:
            made[wide] = gguf.quants.quantize(
                draw.standard_normal(wide, np.float32) * 0.02, gguf.GGMLQuantizationType.Q4_0
            )
        writer.add_tensor(name, made[wide], raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Path) -> int:
    """Put a vocabulary into the metadata; returns its size."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    size = int(pieces.vocab_size())
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i).encode() for i in range(size)])
    writer.add_token_scores([pieces.get_score(i) for i in range(size)])
    writer.add_token_types(
        [
            kinds.UNKNOWN if pieces.is_unknown(i) else kinds.CONTROL if pieces.is_control(i)
            else kinds.BYTE if pieces.is_byte(i) else kinds.NORMAL
            for i in range(size)
        ]
    )  # fmt: skip
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    return size


def tensors(vocabulary: int, shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of a Llama."""
    yield "token_embd.weight", (vocabulary, shape.hidden)
    yield "output_norm.weight", (shape.hidden,)
    yield "output.weight", (vocabulary, shape.hidden)
    for layer in range(shape.layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (shape.hidden,)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (shape.hidden, shape.hidden)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{name}.weight", (shape.feed, shape.hidden)
        yield f"blk.{layer}.ffn_down.weight", (shape.hidden, shape.feed)

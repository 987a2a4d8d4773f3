"""Which type every tensor of a GGUF gets: llama-quantize's rules for a dense model, and the user's own before them.

Source: llama.cpp, `tensor_allows_quantization`, `llama_tensor_get_type` and `tensor_type_fallback`
(src/llama-quant.cpp). The tests hold these rules against the installed library's dry run, so that they cannot rot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from configs.errors import ConfigError
from exporter.ggml.types import BLOCKS, QUANTIZED, default_type
from exporter.tensor import TensorSpec
from exporter.transforms.tensor_names import gguf_order

_MORE_BITS = {"q4_k_m", "q5_k_m"}
_IQ4 = {"iq4_nl", "iq4_xs"}
_OUTPUT_PROJECTION = {"q2_k": "q3_K", "q3_k_m": "q4_K", "q3_k_l": "q5_K"}
_FALLBACKS = {
    "q2_K": "q4_0", "q3_K": "q4_0", "q4_K": "q5_0", "q5_K": "q5_1", "q6_K": "q8_0", "iq4_xs": "iq4_nl",
}  # fmt: skip
"""What rows that are no multiple of 256 get instead."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the rules ask of a model besides its tensors."""

    architecture: str
    """llama.cpp's name for it."""
    layers: int
    heads: int
    kv_heads: int

    @property
    def heads_per_kv(self) -> int:
        """Query heads that share one key and value head."""
        return self.heads // self.kv_heads

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp takes this for a 70B, whose eight heads share one attn_v: that gets more bits."""
        return self.layers == 80 and (
            self.architecture == "qwen2" or (self.architecture == "llama" and self.heads != self.kv_heads)
        )


@dataclass(frozen=True, slots=True)
class TypeRule:
    """`--tensor-type REGEX=TYPE`: tensors whose GGUF name the expression is found in get this type."""

    pattern: re.Pattern[str]
    dtype: str

    @classmethod
    def parse(cls, text: str) -> Self:
        r"""Read `ffn_down\.weight=q6_k`.

        Raises:
            ConfigError: no `=`, no regular expression, or no type.
        """
        expression, mark, name = text.rpartition("=")
        dtype = next((known for known in BLOCKS if known.lower() == name.lower()), "")
        if not mark or not expression or not dtype:
            types = ", ".join(known.lower() for known in BLOCKS)
            raise ConfigError(f"--tensor-type {text} is not REGEX=TYPE with a type of {types}")
        try:
            return cls(re.compile(expression), dtype)
        except re.error as error:
            raise ConfigError(f"--tensor-type {text}: {expression!r} is no regular expression: {error}") from None

    @property
    def text(self) -> str:
        """As the user wrote it, the type's name aside."""
        return f"{self.pattern.pattern}={self.dtype}"


def choose_types(
    specs: Mapping[str, TensorSpec], file_type: str, shape: ModelShape, rules: Sequence[TypeRule] = ()
) -> dict[str, str]:
    """The type of every tensor (by GGUF name) in a file of this type.

    Args:
        rules: the user's own; the first that matches a tensor decides, and llama-quantize's rules pass over it.

    Raises:
        ConfigError: a rule matches no tensor that can be quantized.
    """
    weights = [name for name in sorted(specs, key=gguf_order) if can_be_quantized(specs[name])]
    for rule in rules:
        if not any(rule.pattern.search(name) for name in weights):
            raise ConfigError(
                f"--tensor-type {rule.text} matches no weight", hint="names are as in blk.0.ffn_down.weight"
            )
    mixture = _Mixture(specs, file_type, shape)
    types = dict.fromkeys(specs, "f32")
    for name in weights:
        own = next((rule.dtype for rule in rules if rule.pattern.search(name)), None)
        types[name] = fit_rows(specs[name].columns, own or mixture.next_type(name))
    return types


def can_be_quantized(spec: TensorSpec) -> bool:
    """Whether llama-quantize would touch this tensor; the converter's f16 file, too, holds all others in f32."""
    return len(spec.shape) >= 2 and spec.name.endswith("weight") and "_norm.weight" not in spec.name


def fit_rows(columns: int, dtype: str) -> str:
    """`dtype`, or what rows of this many weights get where they are no whole number of its blocks."""
    for candidate in (dtype, _FALLBACKS.get(dtype, dtype)):
        if columns % BLOCKS[candidate][0] == 0:
            return candidate
    return "f16"


class _Mixture:
    """One walk over a model's weights in llama-quantize's order: some rules count the tensors they have seen."""

    def __init__(self, specs: Mapping[str, TensorSpec], file_type: str, shape: ModelShape) -> None:
        self._specs = specs
        self._file_type = file_type
        self._shape = shape
        self._default = default_type(file_type)
        self._output = "output.weight" if "output.weight" in specs else "token_embd.weight"
        self._attention_v = sum("attn_v.weight" in name for name in specs)
        self._attention_v_seen = 0
        self._ffn_down_seen = 0

    def next_type(self, name: str) -> str:
        """The type of the next weight."""
        if self._file_type not in QUANTIZED:
            return self._default
        if name == self._output:
            return self._output_type(self._specs[name].columns)
        if "attn_v.weight" in name:
            return self._attention_v_type()
        if "ffn_down" in name:
            return self._ffn_down_type()
        if "attn_output.weight" in name:
            return _OUTPUT_PROJECTION.get(self._file_type, self._default)
        return self._default

    def _output_type(self, columns: int) -> str:
        """The output matrix, which is the embeddings where they are tied."""
        if columns % BLOCKS[self._default][0] or self._default == "q8_0":
            return "q8_0"
        return "q6_K"

    def _attention_v_type(self) -> str:
        number = self._attention_v_seen
        self._attention_v_seen += 1
        chosen = self._default
        if self._file_type == "q2_k":
            chosen = "q4_K" if self._shape.heads_per_kv >= 4 else "q3_K"
        elif self._file_type == "q3_k_m":
            chosen = "q5_K" if number < 2 else "q4_K"
        elif self._file_type == "q3_k_l" or (self._file_type in _IQ4 and self._shape.heads_per_kv >= 4):
            chosen = "q5_K"
        elif self._file_type in _MORE_BITS and _gets_more_bits(number, self._attention_v):
            chosen = "q6_K"
        elif self._file_type == "q4_k_s" and number < 4:
            chosen = "q5_K"
        return "q5_K" if self._shape.is_70b and chosen in ("q3_K", "q4_K") else chosen

    def _ffn_down_type(self) -> str:
        number, layers = self._ffn_down_seen, self._shape.layers
        self._ffn_down_seen += 1
        if self._file_type == "q2_k":
            return "q3_K"
        if self._file_type == "q3_k_m":
            return "q5_K" if number < layers // 16 else "q4_K"
        if self._file_type == "q3_k_l":
            return "q5_K"
        if self._file_type in _MORE_BITS and _gets_more_bits(number, layers):
            return "q6_K"
        if self._file_type in {*_IQ4, "q4_k_s"} and number < layers // 8:
            return "q5_K"
        return self._default


def _gets_more_bits(number: int, count: int) -> bool:
    """The first and last eighth, and every third between."""
    return number < count // 8 or number >= 7 * count // 8 or (number - count // 8) % 3 == 2

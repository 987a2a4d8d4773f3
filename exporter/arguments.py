"""The words of `exporter`'s five commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import Handler, Parser, common_flags

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add_merge(commands: Commands, handler: Handler) -> None:
    """`exporter merge`."""
    merge = commands.add_parser(
        "merge", help="merge adapters into a base model and write it as huggingface, pth or GGUF",
        description="One streaming pass from a base model and any number of adapters to any format. Memory does not "
        "grow with the model, and no intermediate model is written. The older scripts' words work too: --base_model, "
        "--lora_model A,B, --output_type, --output_dir (a GGUF lands in DIR/ggml-model-TYPE.gguf), --verbose.",
    )  # fmt: skip
    merge.add_argument(
        "--base",
        "--base_model",
        required=True,
        metavar="BASE",
        help="folder in Hugging Face's layout or Meta's (pth), or a hub id",
    )
    merge.add_argument(
        "--adapter", action="append", default=[], metavar="ADAPTER[=WEIGHT]",
        help="PEFT adapter folder or hub id; may be given several times, the deltas are summed",
    )  # fmt: skip
    merge.add_argument("--lora_model", default="", help=argparse.SUPPRESS)
    merge.add_argument(
        "--format",
        "--output_type",
        required=True,
        choices=("huggingface", "pth", "gguf"),
        help="what to write: a folder in Hugging Face's or Meta's layout, or a GGUF file",
    )
    merge.add_argument(
        "--type", default="", metavar="TYPE",
        help="gguf: f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, "
        "q5_k_s, q5_k_m, q6_k, iq4_nl, iq4_xs (default q4_0); huggingface, pth: f32, f16, bf16 (default the base's)",
    )  # fmt: skip
    _add_tensor_type(merge)
    rounding = merge.add_mutually_exclusive_group()
    rounding.add_argument(
        "--compat", dest="direct", action="store_false", default=False,
        help="round as merging, converting to f16 and quantizing one after another do: the same bytes (the default)",
    )  # fmt: skip
    rounding.add_argument(
        "--direct", action="store_true",
        help="round once, from the float32 sum to the type: f16 keeps more of the adapter, q4_0 gains nothing",
    )  # fmt: skip
    merge.add_argument(
        "--as-trained", action="store_true",
        help="merge an adapter that was trained on a 4-bit or 8-bit base (its training.json says so) onto the values "
        "that the quantizer had made of the base, not onto the original ones",
    )  # fmt: skip
    place = merge.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", type=_path, metavar="PATH", help="GGUF file, or folder")
    place.add_argument("--output_dir", type=_path, help=argparse.SUPPRESS)
    merge.add_argument(
        "--name", type=_text, default="", help="the model's name inside the GGUF (default: the output's)"
    )
    merge.add_argument("--shards", type=_positive, default=0, metavar="N", help="pth: files to divide into (default 1)")
    merge.add_argument("--threads", type=_positive, default=0, metavar="N", help="default: one for each core")
    merge.add_argument("--dry-run", action="store_true", help="check everything, print the plan, write nothing")
    merge.add_argument("--verbose", action="store_true", help=argparse.SUPPRESS)
    _add_output_flags(merge)
    merge.set_defaults(handler=handler)


def add_adapter(commands: Commands, handler: Handler) -> None:
    """`exporter adapter`."""
    adapter = commands.add_parser(
        "adapter", help="write an adapter alone as a llama.cpp LoRA file",
        description="The adapter alone as a GGUF, to plug into a GGUF of its base (runtime --adapter).",
    )  # fmt: skip
    adapter.add_argument("--adapter", required=True, help="PEFT adapter folder or hub id")
    adapter.add_argument("--base", required=True, help="the base model it was trained on: folder or hub id")
    adapter.add_argument("--output", required=True, type=_path, metavar="FILE.gguf", help="the file to write")
    adapter.add_argument(
        "--name", type=_text, default="", help="the adapter's name inside the file (default: the output's)"
    )
    _add_output_flags(adapter)
    adapter.set_defaults(handler=handler)


def add_quantize(commands: Commands, handler: Handler) -> None:
    """`exporter quantize`."""
    quantize = commands.add_parser(
        "quantize", help="write an f32, f16 or bf16 GGUF in another type",
        description="GGUF to GGUF in one streaming pass: the file that llama-quantize makes of it, byte for byte, with "
        "all its metadata. A file that is quantized already is refused.",
    )  # fmt: skip
    quantize.add_argument("source", type=Path, metavar="IN.gguf")
    quantize.add_argument("--type", required=True, metavar="TYPE", help="as for merge: q4_0, q4_k_m, q8_0, ...")
    quantize.add_argument("--output", required=True, type=_path, metavar="OUT.gguf", help="the file to write")
    _add_tensor_type(quantize)
    quantize.add_argument("--threads", type=_positive, default=0, metavar="N", help="default: one for each core")
    _add_output_flags(quantize)
    quantize.set_defaults(handler=handler)


def add_inspect(commands: Commands, handler: Handler) -> None:
    """`exporter inspect`."""
    inspect = commands.add_parser(
        "inspect", help="say what is in a GGUF, a model folder or an adapter folder",
        description="Metadata, tensors, types and sizes of a GGUF, a huggingface or pth folder or an adapter folder; "
        "with a manifest beside it, whether the files are still what it says.",
    )  # fmt: skip
    inspect.add_argument("path", type=Path, metavar="PATH")
    inspect.add_argument("--json", action="store_true", help="print the whole of it as JSON")
    common_flags(inspect)
    inspect.set_defaults(handler=handler)


def add_verify(commands: Commands, handler: Handler) -> None:
    """`exporter verify`."""
    verify = commands.add_parser(
        "verify", help="prove that an export is what base and adapters merge to",
        description="Checks an export: its files against the manifest's hashes, its tokenizer against SentencePiece on "
        "many texts, every tensor's bytes against base and adapters merged once more, and what llama.cpp computes with "
        "a GGUF against a forward pass over the sources. Each check says ok, differs, measured (a figure without a "
        "verdict) or not checked. Exit code 0: nothing differs; 1: something does.",
    )  # fmt: skip
    verify.add_argument("path", type=Path, metavar="PATH", help="GGUF file, huggingface or pth folder")
    verify.add_argument("--base", default="", metavar="BASE", help="the base model it was made from: folder or hub id")
    verify.add_argument(
        "--adapter", action="append", default=[], metavar="ADAPTER[=WEIGHT]", help="those merged into it, in order"
    )
    verify.add_argument(
        "--texts", type=Path, metavar="FILE", help="a text on every line, for the tokenizer and the logits"
    )
    verify.add_argument("--threads", type=_positive, default=0, metavar="N", help="default: one for each core")
    verify.add_argument("--json", action="store_true", help="print the checks as JSON")
    common_flags(verify)
    verify.set_defaults(handler=handler)


def _add_tensor_type(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tensor-type", action="append", default=[], metavar="REGEX=TYPE",
        help="type of the GGUF's tensors whose name the expression is found in, as in 'ffn_down=q6_k'; may be given "
        "several times, the first that matches decides",
    )  # fmt: skip


def _add_output_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace an output that was made from other inputs")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    common_flags(parser)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _text(text: str) -> str:
    """Names go into files as UTF-8; an argument of other bytes has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is no UTF-8 text") from None
    return text


def _path(text: str) -> Path:
    return Path(_text(text))

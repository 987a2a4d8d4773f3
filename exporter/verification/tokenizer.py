"""Whether the export segments text as the sources' own tokenizer does."""

from __future__ import annotations

import importlib.util
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from configs.errors import ToolError
from exporter.ggml import llama_child
from exporter.segmentation import source_ids
from exporter.sources.tokenizer_files import MODEL, TokenizerFiles
from exporter.verification.check import Check
from exporter.verification.written import Written, WrittenGguf


def check_tokenizer(written: Written, tokenizer: TokenizerFiles, texts: Sequence[str]) -> list[Check]:
    """The export's tokenizer against the sources'."""
    form = _unicode_form(tokenizer)
    if isinstance(written, WrittenGguf) and form:
        # llama.cpp normalizes nothing, and a GGUF cannot tell it to: what it is given must be in this form already.
        texts = [unicodedata.normalize(form, text) for text in texts]
        check = _check_gguf(written, texts, source_ids(tokenizer, texts))
        return [replace(check, detail=f"{check.detail} ({form} texts: llama.cpp does not normalize)")]
    expected = source_ids(tokenizer, texts)
    if isinstance(written, WrittenGguf):
        return [_check_gguf(written, texts, expected)]
    return [_check_files(written.path, tokenizer), _check_transformers(written.path, texts, expected)]


def _unicode_form(tokenizer: TokenizerFiles) -> Literal["NFC", "NFD", "NFKC", "NFKD"] | None:
    """The Unicode form that the tokenizer brings text into, where that is all its normalizer does."""
    normalizer = None if tokenizer.has_model else tokenizer.json("tokenizer.json").get("normalizer")
    kind = normalizer.get("type") if isinstance(normalizer, dict) else None
    return kind if kind in ("NFC", "NFD", "NFKC", "NFKD") else None


def _check_gguf(written: WrittenGguf, texts: Sequence[str], expected: Sequence[Sequence[int]]) -> Check:
    if not llama_child.has_llama_cpp():
        return Check("tokenizer", "not checked", "llama-cpp-python is not installed")
    try:
        found = llama_child.tokenize(written.path, texts)
    except ToolError as error:
        return Check("tokenizer", "differs", str(error))
    wrong = _differing(texts, expected, found)
    if wrong:
        sentence = f"llama.cpp segments {len(wrong)} of {len(texts)} texts otherwise, the first is {_short(wrong[0])}"
        return Check("tokenizer", "differs", sentence)
    return Check("tokenizer", "ok", f"llama.cpp segments all {len(texts)} texts as the sources' tokenizer does")


def _check_files(folder: Path, tokenizer: TokenizerFiles) -> Check:
    """The vocabulary's files must be copies."""
    names = [name for name in (MODEL, "tokenizer.json") if name in tokenizer.files]
    wrong = [name for name in names if _bytes(folder / name) != _bytes(tokenizer.files[name])]
    if wrong:
        return Check("tokenizer", "differs", f"{' and '.join(wrong)} missing or not the sources'")
    return Check("tokenizer", "ok", f"{' and '.join(names)} copied from the sources, byte for byte")


def _check_transformers(folder: Path, texts: Sequence[str], expected: Sequence[Sequence[int]]) -> Check:
    """A count without a verdict: the files are right, what transformers makes of them is its own matter."""
    name = "transformers' tokenizer"
    if not (folder / "config.json").is_file():
        return Check(name, "not checked", "transformers opens no pth folder")
    if importlib.util.find_spec("transformers") is None:
        return Check(name, "not checked", "transformers is not installed")
    from transformers import AutoTokenizer

    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        theirs = AutoTokenizer.from_pretrained(folder)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
        return Check(name, "measured", f"AutoTokenizer does not open the folder: {str(error).partition(chr(10))[0]}")
    found = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    wrong = _differing(texts, expected, found)
    if not wrong:
        return Check(name, "ok", f"AutoTokenizer segments all {len(texts)} texts as the sources' tokenizer does")
    example = f"the first is {_short(wrong[0])}"
    return Check(name, "measured", f"AutoTokenizer segments {len(wrong)} of {len(texts)} texts otherwise, {example}")


def _differing(texts: Sequence[str], expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> list[str]:
    return [text for text, ours, theirs in zip(texts, expected, found, strict=True) if list(ours) != list(theirs)]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")

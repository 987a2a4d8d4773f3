"""Whether llama.cpp segments text with a GGUF's vocabulary as the tokenizer does that the vocabulary was made from."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from configs.errors import ToolError, require
from configs.formats import Formats
from exporter.check_texts import CHECK_TEXTS
from exporter.ggml import llama_child
from exporter.sources.tokenizer_files import TokenizerFiles
from exporter.sources.vocabulary_texts import vocabulary_texts

_SPACE = "\u2581"
_TEXTS, _PIECES = 40, 12
_QUESTION = "請閱讀以下文章，並回答問題。What is 12 + 30?\n1. 42\n2. forty"


def source_ids(tokenizer: TokenizerFiles, texts: Sequence[str]) -> list[list[int]]:
    """Each text's ids by SentencePiece, or by tokenizer.json where there is no SentencePiece model; no special tokens.

    Raises:
        ToolError: the tokenizer's files are damaged, or there are none.
    """
    if tokenizer.has_model:
        processor = tokenizer.processor()
        return [list(processor.encode(text)) for text in texts]
    if not tokenizer.has_json:
        raise ToolError("the sources have neither tokenizer.model nor tokenizer.json")
    tokenizers = require("tokenizers", "convert")
    encoder = tokenizers.Tokenizer.from_file(str(tokenizer.files["tokenizer.json"]))
    encoder.encode_special_tokens = True  # text is text, whatever it looks like
    return [encoder.encode(text, add_special_tokens=False).ids for text in texts]


def built_in_texts(tokenizer: TokenizerFiles) -> list[str]:
    """The check texts, but for those that this vocabulary has its own rule for and llama.cpp none.

    Texts with an added token in them: SentencePiece does not know the token. Texts with letters and accents apart:
    llama.cpp does not compose them as byte-level tokenizers do.
    """
    marks = [token.text for token in tokenizer.added()] if tokenizer.has_model else []
    return [
        text
        for text in CHECK_TEXTS
        if not any(mark in text for mark in marks) and (tokenizer.has_model or unicodedata.is_normalized("NFC", text))
    ]


def texts_of_pieces(tokenizer: TokenizerFiles) -> list[str]:
    """Pieces of a SentencePiece vocabulary in a seeded random order, as texts: where a merge is lost, they show it.

    The check texts are in many languages, and a vocabulary of one is hardly needed for them.
    """
    table = tokenizer.json("tokenizer.json")
    if not (tokenizer.has_model or (table.get("model") or {}).get("byte_fallback")):
        return []
    added = {token.text for token in tokenizer.added()}
    pieces = [text for text in vocabulary_texts(tokenizer).values() if text not in added and not text.startswith("<")]
    draw = random.Random(0)  # noqa: S311  the same texts each time
    return ["".join(draw.choices(pieces, k=_PIECES)).replace(_SPACE, " ") for _ in range(_TEXTS if pieces else 0)]


def check_segmentation(path: Path, tokenizer: TokenizerFiles, formats: Formats | None) -> None:
    """Compare the two on the built-in texts and on a prompt in the model's own format.

    Nothing is done without llama-cpp-python: the plan's notes say so.

    Raises:
        ToolError: a text is segmented otherwise, or llama.cpp does not open the file.
    """
    if not llama_child.has_llama_cpp():
        return
    texts = built_in_texts(tokenizer) + texts_of_pieces(tokenizer)
    if formats:
        prompt = formats.prompt.prompt([{"role": "user", "content": _QUESTION}])
        texts += [piece.text for piece in prompt.pieces if not piece.special]
    expected = source_ids(tokenizer, texts)
    for text, ours, theirs in zip(texts, expected, llama_child.tokenize(path, texts), strict=True):
        if ours != theirs:
            raise ToolError(
                f"llama.cpp would segment text otherwise than the tokenizer the model was trained with"
                f"{_reason(tokenizer, text)}: {text[:40]!r} is {ours[:8]} there and {theirs[:8]} in the GGUF, "
                "which was removed",
                hint="--format huggingface keeps the tokenizer as it is",
            )


def _reason(tokenizer: TokenizerFiles, text: str) -> str:
    """A SentencePiece model can bring text into another form before it cuts it; a GGUF has no place to say so."""
    if not tokenizer.has_model:
        return ""
    form = tokenizer.processor().normalize(text).replace(_SPACE, " ")
    return ", which normalizes text first" if form.removeprefix(" ") != text.removeprefix(" ") else ""

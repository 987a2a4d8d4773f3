"""The texts of a tokenizer's tokens by id: what two vocabularies are compared by."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.sources.tokenizer_files import TokenizerFiles


def vocabulary_texts(tokenizer: TokenizerFiles) -> dict[int, str]:
    """Pieces of the SentencePiece model, else of tokenizer.json, and added tokens beyond them; empty without either.

    Raises:
        ToolError: a file is damaged.
    """
    texts = {token.id: token.text for token in tokenizer.added()}
    if tokenizer.has_model:
        processor = tokenizer.processor()
        return texts | {number: processor.id_to_piece(number) for number in range(processor.vocab_size())}
    table = tokenizer.json("tokenizer.json")
    for entry in table.get("added_tokens") or []:
        texts[int(entry["id"])] = str(entry["content"])
    return texts | _json_pieces((table.get("model") or {}).get("vocab"))


def _json_pieces(vocab: object) -> dict[int, str]:
    if isinstance(vocab, Mapping):  # BPE: text -> id
        return {int(number): str(text) for text, number in vocab.items()}
    if isinstance(vocab, list):  # unigram: [text, score] in order
        return {number: str(entry[0]) for number, entry in enumerate(vocab)}
    return {}

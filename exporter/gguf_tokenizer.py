"""The tokenizer's part of a GGUF's metadata: a SentencePiece vocabulary, or a byte-level BPE one."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ToolError
from configs.formats import Formats
from exporter.sources.bpe_tokenizer import TokenizerJson, read_tokenizer_json, rebuild_pieces
from exporter.sources.huggingface import BaseModel
from exporter.sources.llama_config import read_json
from exporter.sources.tokenizer_files import TokenizerFiles, read_pieces
from exporter.tokens import AddedToken, Piece
from exporter.transforms.pre_tokenizers import pre_tokenizer_name
from exporter.transforms.vocabulary import build_bpe_vocabulary, build_vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter, SpecialVocab

_log = logging.getLogger(__name__)

_LLAMA_CPP_IDS = {"bos": 1, "eos": 2, "unk": 0}
"""What llama.cpp assumes of a SentencePiece vocabulary that does not say."""

_CODELLAMA_ROWS = 32016
_GRANITE_ROWS = 49152
"""The vocabulary sizes that llama.cpp's converter knows by heart: the first has tokens for filling in the middle, the
second is never preceded by BOS."""


def add_tokenizer(writer: GGUFWriter, base: BaseModel, tokenizer: TokenizerFiles, formats: Formats | None) -> None:
    """Add vocabulary, special tokens and chat template.

    Raises:
        ToolError: no tokenizer, one that does not fit the base, or one that llama.cpp cannot imitate.
    """
    prefix = tokenizer.json("tokenizer_config.json").get("add_prefix_space")
    if prefix is not None and base.config.gguf_architecture == "llama":
        writer.add_add_space_prefix(bool(prefix))
    if tokenizer.has_model:
        _add_sentencepiece(writer, base, tokenizer, formats)
    elif tokenizer.has_json:
        found = read_tokenizer_json(tokenizer.files["tokenizer.json"])
        if found.has_byte_fallback:
            _add_rebuilt(writer, base, tokenizer, found, formats)
        else:
            _add_bpe(writer, base, tokenizer, found, formats)
    elif tokenizer.is_tiktoken:
        raise ToolError(
            f"{tokenizer.files['tokenizer.model']} is a list of byte pairs without the expression that cuts the text",
            hint="put the tokenizer.json of the same model, in Hugging Face layout, beside it",
        )
    else:
        raise ToolError(
            f"{base.folder} has neither tokenizer.model nor tokenizer.json",
            hint="copy the tokenizer beside the weights",
        )
    if base.config.gguf_architecture == "llama":
        _add_known_sizes(writer, base.vocab_rows)


def _add_sentencepiece(writer: GGUFWriter, base: BaseModel, tokenizer: TokenizerFiles, formats: Formats | None) -> None:
    processor = tokenizer.processor()
    added = tokenizer.added()
    _check_rows(base, str(tokenizer.files["tokenizer.model"]), processor.vocab_size(), added)
    _add_pieces(writer, base, read_pieces(processor), added)
    special = _special_tokens(base, tokenizer)
    for kind, number in (("bos", processor.bos_id()), ("eos", processor.eos_id()), ("unk", processor.unk_id())):
        if number not in (-1, _LLAMA_CPP_IDS[kind]):  # the converter leaves out what no configuration states
            special.special_token_ids.setdefault(kind, number)
    _finish(writer, special, formats)


def _add_rebuilt(
    writer: GGUFWriter, base: BaseModel, tokenizer: TokenizerFiles, found: TokenizerJson, formats: Formats | None
) -> None:
    """SentencePiece without its model: scores from the ranks of merges (the usual converter gives all -1000)."""
    _log.warning(
        "%s has no tokenizer.model: scores come from tokenizer.json, which may segment extended vocabularies otherwise",
        found.path.parent,
    )
    pieces = rebuild_pieces(found)
    settings = {token.id for token in tokenizer.added()}
    beyond = [token for token in found.added if token.id >= len(pieces) and token.id not in settings]
    added = [*beyond, *tokenizer.added()]
    _check_rows(base, str(found.path), len(pieces), added)
    _add_pieces(writer, base, pieces, added)
    _finish(writer, _special_tokens(base, tokenizer), formats)


def _add_pieces(writer: GGUFWriter, base: BaseModel, pieces: Sequence[Piece], added: Sequence[AddedToken]) -> None:
    table = build_vocabulary(pieces, added, base.vocab_rows)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(table.tokens)
    writer.add_token_scores(table.scores)
    writer.add_token_types(table.kinds)


def _add_bpe(
    writer: GGUFWriter, base: BaseModel, tokenizer: TokenizerFiles, found: TokenizerJson, formats: Formats | None
) -> None:
    ignore_merges = bool(found.model.get("ignore_merges"))
    name = pre_tokenizer_name(found.table.get("pre_tokenizer"), ignore_merges=ignore_merges)
    if name is None:
        raise ToolError(
            f"{found.path} cuts text in a way that llama.cpp is not known to imitate: its pre_tokenizer is none of "
            "Llama 3's, Qwen2's, GPT-2's or SmolLM's",
            hint="--format huggingface keeps the tokenizer as it is",
        )
    added = {token.id: token for token in (*found.added, *tokenizer.added())}
    _check_rows(base, str(found.path), max(found.vocabulary.values()) + 1, [])
    outside = next((token for token in added.values() if token.id >= base.vocab_rows), None)
    if outside:
        raise ToolError(
            f"{found.path}: token {outside.text} has id {outside.id}, the model has {base.vocab_rows} rows",
            hint="this tokenizer belongs to another model",
        )
    table = build_bpe_vocabulary(found.vocabulary, list(added.values()), base.vocab_rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(table.tokens)
    writer.add_token_types(table.kinds)
    # gguf remarks on every Llama 3 that BOS stands between two texts, which no GGUF has to do with.
    logging.getLogger("gguf.vocab").setLevel(logging.ERROR)
    special = _special_tokens(base, tokenizer, load_merges=True)
    processors = found.table.get("post_processor") or {}
    if any(step.get("type") == "ByteLevel" for step in processors.get("processors", [processors])):
        # It adds nothing by itself. (llama.cpp's converter says so, the gguf package does not yet.)
        special.add_special_token = {"bos": False, "eos": False} | special.add_special_token
    _finish(writer, special, formats)


def _check_rows(base: BaseModel, source: str, size: int, added: Sequence[AddedToken]) -> None:
    if size > base.vocab_rows:
        raise ToolError(
            f"{source} has {size:,} pieces, the embeddings of {base.folder} only {base.vocab_rows:,} rows",
            hint="this adapter's tokenizer belongs to another base model",
        )
    for token in added:
        if token.id >= base.vocab_rows:
            _log.warning(
                "left out: added token %s has id %d, the model has %d rows", token.text, token.id, base.vocab_rows
            )


def _special_tokens(base: BaseModel, tokenizer: TokenizerFiles, *, load_merges: bool = False) -> SpecialVocab:
    """Special ids, add_bos, add_eos and chat template, by gguf's rules, which want all files in one folder."""
    from gguf import SpecialVocab

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, path in tokenizer.files.items():
            if path.suffix == ".json":
                read_json(path)
            if path.suffix in (".json", ".jinja"):
                shutil.copyfile(path, folder / file)
        # Early LLaMA configurations say pad_token_id = -1, which gguf takes for damage.
        config = {key: value for key, value in base.raw_config.items() if not (key.endswith("_id") and value == -1)}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return SpecialVocab(folder, load_merges=load_merges, n_vocab=base.vocab_rows)


def _finish(writer: GGUFWriter, special: SpecialVocab, formats: Formats | None) -> None:
    if formats:
        special.chat_template = formats.prompt.chat_template
    special.add_to_gguf(writer, quiet=True)


def _add_known_sizes(writer: GGUFWriter, rows: int) -> None:
    if rows == _CODELLAMA_ROWS:
        for key, number in (("prefix", 32007), ("suffix", 32008), ("middle", 32009), ("eot", 32010)):
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", number)
    if rows == _GRANITE_ROWS:
        writer.add_add_bos_token(False)

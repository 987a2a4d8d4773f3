"""The token table, slot by slot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from exporter.sources.tokenizer_files import added_tokens
from exporter.tokens import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, AddedToken, Piece
from exporter.transforms.vocabulary import build_vocabulary
from tests.exporter.conftest import merge
from tests.exporter.oracles import gguf_keys


def test_slots_are_padding_then_pieces_then_added_tokens() -> None:
    pieces = [
        Piece("<unk>", 0.0, UNKNOWN),
        Piece("<s>", 0.0, CONTROL),
        Piece("<0x0A>", 0.0, BYTE),
        Piece("\u2581好", -1.5, NORMAL),
    ]
    added = [
        AddedToken(4, "<plain>", None),
        AddedToken(5, "<|end|>", False),
        AddedToken(6, "\u2581two\u2581words", False),
    ]
    table = build_vocabulary(pieces, [*added, AddedToken(99, "beyond", True)], 8)
    assert table.tokens == [
        b"<unk>",
        b"<s>",
        b"<0x0A>",
        "\u2581好".encode(),
        b"<plain>",
        b"<|end|>",
        b" two words",
        b"[PAD7]",
    ]
    assert table.kinds == [UNKNOWN, CONTROL, BYTE, NORMAL, USER_DEFINED, CONTROL, USER_DEFINED, UNUSED]
    assert table.scores == [0.0, 0.0, 0.0, -1.5, -1000.0, -1000.0, -1000.0, -10000.0]


def test_pieces_beyond_the_last_row_are_left_out() -> None:
    assert build_vocabulary([Piece(str(i), 0.0, NORMAL) for i in range(5)], [], 3).tokens == [b"0", b"1", b"2"]


def test_added_tokens_of_both_files_in_the_order_that_they_win() -> None:
    found = added_tokens({"<a>": 7}, {"7": {"content": "<b>", "special": True}})
    assert found == [AddedToken(7, "<a>", None), AddedToken(7, "<b>", True)]


def test_gguf_holds_scores_types_and_added_tokens_of_the_folder(tiny_base: Path, tmp_path: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {"7": {"content": "<|mark|>", "special": True}}
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    keys = gguf_keys(merge(base, tmp_path / "m.gguf"))
    pieces = SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
    assert keys["tokenizer.ggml.tokens"][7] == "<|mark|>"
    assert keys["tokenizer.ggml.token_type"][7] == CONTROL
    numbers = [number for number in range(640) if number != 7]
    assert [keys["tokenizer.ggml.tokens"][n] for n in numbers] == [pieces.id_to_piece(n) for n in numbers]
    assert [keys["tokenizer.ggml.scores"][n] for n in numbers] == [pieces.get_score(n) for n in numbers]
    assert keys["tokenizer.ggml.bos_token_id"] == 1
    assert keys["tokenizer.ggml.add_bos_token"] is True


def test_tokenizer_comes_from_the_last_adapter_and_the_template_from_its_format(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    from configs.formats import FORMAT_FILE, Formats

    adapter = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    (adapter / FORMAT_FILE).write_text(Formats.load("vicuna").to_toml(), encoding="utf-8")
    settings = json.loads((adapter / "tokenizer_config.json").read_text()) | {"chat_template": "stale"}
    (adapter / "tokenizer_config.json").write_text(json.dumps(settings))
    keys = gguf_keys(merge(tiny_base, tmp_path / "m.gguf", adapter))
    assert keys["tokenizer.chat_template"] == Formats.load("vicuna").prompt.chat_template
    assert Formats.from_gguf_keys(keys) == Formats.load("vicuna")
    folder = merge(tiny_base, tmp_path / "folder", adapter, format="huggingface")
    assert "chat_template" not in json.loads((folder / "tokenizer_config.json").read_text())
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == Formats.load("vicuna").prompt.chat_template


def test_without_any_format_no_key_is_written(tiny_base: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (base / "prompt_format.toml").unlink()
    keys = gguf_keys(merge(base, tmp_path / "m.gguf", name="A name"))
    assert not any(key.startswith("lora2edge.") for key in keys)
    assert keys["general.name"] == "A name"


def test_adapter_that_lost_its_sentencepiece_model_gets_the_bases(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    adapter = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    (adapter / "tokenizer.model").unlink()
    (adapter / "tokenizer.json").write_text("{}")
    merged = merge(tiny_base, tmp_path / "m.gguf", adapter)
    assert merged.read_bytes() == merge(tiny_base, tmp_path / "n" / "m.gguf", tiny_adapter).read_bytes()

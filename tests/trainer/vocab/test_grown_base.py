"""The folder that `trainer vocab` writes: old rows as they were, new rows by the rule, whatever form the base has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.trainer.vocab.conftest import extend, run_vocab, sentences

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def pieces_of(folder: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def as_shards(folder: Path, *, suffix: str) -> Path:
    """The folder with its weights in two files, as safetensors or as bin."""
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, index = {
        ".safetensors": ("model", "model.safetensors.index.json"),
        ".bin": ("pytorch_model", "pytorch_model.bin.index.json"),
    }[suffix]
    home = {}
    for number, names in enumerate((sorted(whole)[::2], sorted(whole)[1::2]), 1):
        name = f"{stem}-{number:05d}-of-00002{suffix}"
        part = {key: whole[key] for key in names}
        if suffix == ".bin":
            torch.save(part, folder / name)
        else:
            save_file(part, folder / name, metadata={"format": "pt"})
        home |= dict.fromkeys(names, name)
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": home}), encoding="utf-8")
    return folder


def padded(folder: Path, rows: int) -> Path:
    """The folder with so many rows, those after the vocabulary's being padding."""
    whole = load_file(folder / "model.safetensors")
    for name in {EMBEDDINGS, HEAD} & whole.keys():
        more = torch.full((rows - len(whole[name]), whole[name].shape[1]), 7.0, dtype=whole[name].dtype)
        whole[name] = torch.cat([whole[name], more])
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config(folder) | {"vocab_size": rows}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["bf16", "f16", "tied", "shards", "bin", "bin shards", "padded", "much padded"])
def test_every_form_of_base_grows(form: str, corpus: Path, tmp_path: Path) -> None:
    dtype = {"bf16": "bfloat16", "f16": "float16"}.get(form, "float32")
    base = tiny.base(tmp_path / "base", dtype=dtype, tied=form == "tied")
    before = tensors(base)
    if "shards" in form:
        as_shards(base, suffix=".bin" if "bin" in form else ".safetensors")
    elif form == "bin":
        torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
        (base / "model.safetensors").unlink()
    elif "padded" in form:
        before = tensors(padded(base, 1024 if "much" in form else 672))
    report = extend(corpus, base, tmp_path / "b", "--size", 150)
    after = tensors(tmp_path / "b")
    assert after.keys() == before.keys()
    assert {name: tensor.dtype for name, tensor in after.items()} == {name: t.dtype for name, t in before.items()}
    old, new = map(pieces_of, (base, tmp_path / "b"))
    rows = max(len(before[EMBEDDINGS]), new.vocab_size())
    assert config(tmp_path / "b")["vocab_size"] == rows == report["rows"]["after"]
    wall = "\U0010fffd"
    start = len(old.encode(wall))
    for name in {EMBEDDINGS, HEAD} & before.keys():
        assert after[name].shape == (rows, 64)
        assert torch.equal(after[name][: old.vocab_size()], before[name][: old.vocab_size()])
        for id_ in range(old.vocab_size(), new.vocab_size()):
            ids = old.encode(wall + new.id_to_piece(id_).replace("▁", " "))[start:]
            mean = before[name][ids].float().mean(0).to(before[name].dtype)
            assert torch.equal(after[name][id_], mean), new.id_to_piece(id_)
        assert (after[name][new.vocab_size() :] == 7.0).all()
    for name in before.keys() - {EMBEDDINGS, HEAD}:
        assert torch.equal(after[name], before[name])


def test_transformers_opens_it_and_old_texts_have_the_old_hidden_states(tiny_base: Path, grown: Path) -> None:
    from transformers import AutoModelForCausalLM

    old, new = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tiny_base, grown))
    ids = torch.tensor([list(range(1, 60))])
    theirs, ours = old(ids).logits, new(ids).logits
    assert torch.allclose(ours[..., : theirs.shape[-1]], theirs, atol=1e-5)
    assert new.get_output_embeddings().weight.shape[0] == new.config.vocab_size > old.config.vocab_size


def test_the_folder_is_complete_and_without_a_stale_vocabulary(tiny_base: Path, corpus: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    (base / "tokenizer.json").write_text("{}", encoding="utf-8")
    (base / "LICENSE").write_text("yours", encoding="utf-8")
    extend(corpus, base, tmp_path / "b", "--size", 100)
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "LICENSE", "config.json", "generation_config.json", "model.safetensors", "prompt_format.toml",
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocabulary.json",
    }  # fmt: skip
    written = json.loads((tmp_path / "b" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert len(written) == pieces_of(tmp_path / "b").vocab_size()
    assert (tmp_path / "b" / "model.safetensors").stat().st_mode & 0o044 == 0o044


def test_added_tokens_keep_their_ids_and_rows(tiny_base: Path, corpus: Path, tmp_path: Path) -> None:
    from trainer.tokenizer import SentencePieceTokenizer

    base = padded(Path(shutil.copytree(tiny_base, tmp_path / "base")), 704)
    size = SentencePieceTokenizer.from_folder(base).pieces
    (base / "added_tokens.json").write_text(json.dumps({"<pad>": size + 3, "<|end|>": size}), encoding="utf-8")
    before = tensors(base)[EMBEDDINGS]
    extend(corpus, base, tmp_path / "b", "--size", 100)
    tokenizer = SentencePieceTokenizer.from_folder(tmp_path / "b")
    assert (tokenizer.special("<pad>"), tokenizer.special("<|end|>")) == (size + 3, size)
    assert tokenizer.piece(size + 3) == "<pad>"
    assert torch.equal(tensors(tmp_path / "b")[EMBEDDINGS][: size + 4], before[: size + 4])
    text = f"<pad><|end|> <reserved_{size + 1}> {sentences(1)[0]}"
    assert not {size, size + 1, size + 2, size + 3} & set(tokenizer.plain(text))


def test_the_same_command_again_does_nothing_and_another_asks(
    tiny_base: Path, corpus: Path, grown: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(grown, tmp_path / "b"))
    stamp = (output / "model.safetensors").stat().st_mtime_ns
    code, _, err = run_vocab(corpus, tiny_base, output, "--size", 200)
    assert (code, "already made" in err) == (0, True)
    code, _, err = run_vocab(corpus, tiny_base, output, "--size", 100)
    assert (code, "--overwrite" in err) == (2, True)
    assert (output / "model.safetensors").stat().st_mtime_ns == stamp
    (output / "model.safetensors").write_bytes((output / "model.safetensors").read_bytes()[:-1])
    code, _, err = run_vocab(corpus, tiny_base, output, "--size", 200)
    assert (code, "--overwrite" in err) == (2, True)
    assert extend(corpus, tiny_base, output, "--size", 100, "--overwrite")["size"] == 100
    (output / "notes.txt").write_text("mine", encoding="utf-8")
    code, _, err = run_vocab(corpus, tiny_base, output, "--size", 200, "--overwrite")
    assert (code, "notes.txt" in err) == (2, True)


def test_the_base_is_never_written_over(tiny_base: Path, corpus: Path) -> None:
    code, _, err = run_vocab(corpus, tiny_base, tiny_base, "--overwrite")
    assert (code, "the base itself" in err) == (2, True)


def test_a_disk_that_is_full_leaves_nothing(
    tiny_base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from trainer import rewritten

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rewritten.shutil, "copyfile", full)  # after the weights
    code, _, err = run_vocab(corpus, tiny_base, tmp_path / "b", "--size", 100)
    assert (code, "disk is full" in err) == (3, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "code", "told"),
    [
        ("unigram", 2, "no BPE model"),
        ("normalizing", 2, "rewrites text"),
        ("truncated", 1, "its header says"),
        ("other size", 2, "vocab_size"),
        ("no head", 2, "lm_head.weight"),
        ("integers", 2, "F64"),
        ("bias", 2, "lm_head.bias"),
        ("empty vocabulary", 2, "is not a SentencePiece model"),
        ("added tokens", 2, "added tokens"),
    ],
)
def test_a_base_that_cannot_grow_is_refused(
    damage: str, code: int, told: str, tiny_base: Path, corpus: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    whole = load_file(base / "model.safetensors")
    if damage in ("unigram", "normalizing"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences(50)), model_prefix=str(base / "tokenizer"), vocab_size=80,
            model_type="unigram" if damage == "unigram" else "bpe", hard_vocab_limit=False, minloglevel=3,
            normalization_rule_name="identity" if damage == "unigram" else "nmt_nfkc",
        )  # fmt: skip
    elif damage == "truncated":
        path = base / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "empty vocabulary":
        (base / "tokenizer.model").write_bytes(b"")
    elif damage == "added tokens":
        (base / "tokenizer_config.json").write_text('{"added_tokens_decoder": [3]}', encoding="utf-8")
    elif damage == "other size":
        (base / "config.json").write_text(json.dumps(config(base) | {"vocab_size": 700}), encoding="utf-8")
    else:
        if damage == "no head":
            del whole[HEAD]
        elif damage == "integers":
            whole[EMBEDDINGS] = whole[EMBEDDINGS].double()
        else:
            whole["lm_head.bias"] = torch.zeros(len(whole[HEAD]))
        save_file(whole, base / "model.safetensors", metadata={"format": "pt"})
    found, out, err = run_vocab(corpus, base, tmp_path / "b")
    assert (found, out) == (code, "")
    assert told in err
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.own_process
def test_memory_does_not_grow_with_the_model(corpus: Path, tmp_path: Path) -> None:
    """A base of 380 MB grows in far less than that."""
    from trainer.vocab.build import VocabOptions, extend_base

    base = tiny.base(tmp_path / "base", hidden=32, heads=2, kv_heads=2, layers=1)
    whole = load_file(base / "model.safetensors")
    whole["model.layers.9.mlp.up_proj.weight"] = torch.zeros(24_000, 4_000)
    save_file(whole, base / "model.safetensors", metadata={"format": "pt"})
    del whole
    small = tiny.base(tmp_path / "small", hidden=32, heads=2, kv_heads=2, layers=1)
    extend_base(VocabOptions((corpus,), str(small), tmp_path / "s", size=100), print)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # forget the peak so far
    before = _peak_kib()
    extend_base(VocabOptions((corpus,), str(base), tmp_path / "b", size=100), print)
    assert _peak_kib() - before < 100_000
    assert (tmp_path / "b" / "model.safetensors").stat().st_size > 380_000_000


def _peak_kib() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])

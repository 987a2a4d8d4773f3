"""Real but tiny things to test on: a tokenizer, a random Llama, an adapter, questions, sheets, and a way to run a command."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
import shutil
from pathlib import Path

from configs.exam import Question
from configs.formats import FORMAT_FILE, Formats

_NAMES = ("欣怡", "志明", "春嬌", "家豪", "淑芬", "建宏", "美玲", "俊傑")
_THINGS = ("秋天", "春天", "夏天", "冬天", "蘋果", "香蕉", "西瓜", "葡萄", "台北", "台中", "台南", "高雄")
_SEEN = "AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz0123456789:.,!?[]<>/()|_-，。？「」"


def questions(count: int, seed: int = 0) -> list[Question]:
    """Questions whose right option stands in the passage; several share a passage."""
    draw = random.Random(seed)
    found = []
    while len(found) < count:
        name, things = draw.choice(_NAMES), draw.sample(_THINGS, 4)
        passage = f"{name}今天說到{things[0]}，昨天說到{things[1]}（第{len(found)}次）。"
        for day, thing in (("今天", things[0]), ("昨天", things[1])):
            choices = draw.sample(things, 4)
            found.append(Question(passage, f"{name}{day}說到什麼？", tuple(choices), choices.index(thing) + 1))
    return found[:count]


def sheet(path: Path, rows: list[Question], *, answers: bool = True) -> Path:
    """An xlsx with the columns of AI.xlsx (with answers) or AI1000.xlsx (without)."""
    import openpyxl

    workbook = openpyxl.Workbook()
    page = workbook.active
    options = ["選項1", "選項2", "選項3", "選項4"]
    page.append(
        ["ID", "文章", "問題", *options, "正確答案", "資料來源"] if answers else ["題號", "文章", "問題", *options]
    )
    for number, row in enumerate(rows, 1):
        cells = [number, row.passage, row.question, *row.choices]
        page.append([*cells, row.answer, "自編"] if answers else cells)
    workbook.save(path)
    return path


def tokenizer(folder: Path) -> Path:
    """Train a SentencePiece BPE of 640 pieces with byte fallback in Llama's manner; returns folder/tokenizer.model."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    corpus = [question.passage + question.question + "、".join(question.choices) for question in questions(200)]
    formats = Formats.load("alpaca2", "formosa")
    corpus += [formats.question.text(question) for question in questions(20)] + [formats.prompt.system, _SEEN] * 3
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in corpus for line in text.split("\n") if line),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=640,
        byte_fallback=True,
        split_digits=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    return folder / "tokenizer.model"


def base(
    folder: Path,
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    intermediate: int = 160,
    dtype: str = "float32",
    tied: bool = False,
    vocab_model: Path | None = None,
    format: str = "alpaca2",  # noqa: A002  the word of the command line
    seed: int = 0,
) -> Path:
    """A random Llama in Hugging Face layout, as a hub download would look; context 2,048."""
    import sentencepiece
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    if vocab_model is None:
        tokenizer(folder)
    else:
        shutil.copyfile(vocab_model, folder / "tokenizer.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=pieces.vocab_size(),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        initializer_range=0.08,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": True}
            | special
        )
    )
    (folder / FORMAT_FILE).write_text(Formats.load(format, "formosa").to_toml(), encoding="utf-8")
    return folder


def adapter(
    base_folder: Path, folder: Path, *, r: int = 8, alpha: int = 12, seed: int = 0, rslora: bool = False
) -> Path:
    """A PEFT LoRA on all seven linears with random non-zero factors; its scale is no power of two."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base_folder)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = peft.LoraConfig(r=r, lora_alpha=alpha, target_modules=targets, use_rslora=rslora, task_type="CAUSAL_LM")
    tuned = peft.get_peft_model(model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    tuned.save_pretrained(folder)
    for name in ("tokenizer.model", "tokenizer_config.json", FORMAT_FILE):
        shutil.copyfile(base_folder / name, folder / name)
    return folder


def run_cli(module: str, *args: object) -> tuple[int, str, str]:
    """Run `module`.main in this process; returns (exit code, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = importlib.import_module(module).main([str(arg) for arg in args])
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
    return code, out.getvalue(), err.getvalue()


class SentencePieceVocabulary:
    """A `configs.prompt.Tokenizer` over SentencePiece itself: the oracle of every tokenizer of ours."""

    def __init__(self, model: Path) -> None:
        import sentencepiece

        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def plain(self, text: str) -> list[int]:
        return list(self.pieces.encode(text))

    def special(self, token: str) -> int:
        return int(self.pieces.piece_to_id(token))

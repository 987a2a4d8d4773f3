"""The base model on the disk: where it is, whether it is whole, and which one it is. No torch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from configs.atomic import sha256_text
from configs.errors import ConfigError, ToolError, require
from trainer.tokenizer import TOKENIZER_FILE, SentencePieceTokenizer

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.json", "*.model", "*.safetensors", "*.bin", "*.jinja", "*.toml"]

_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16


def resolve(source: str, what: str) -> Path:
    """The local folder of a model or adapter that is given as a folder or as a hub id.

    Raises:
        ConfigError: no such folder, and nothing that looks like a hub id.
        ToolError: the hub does not have it or cannot be reached.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ConfigError(f"the {what} {source} is a file", hint="give the folder that holds it")
    if not HUB_ID.fullmatch(source) or folder.parent.is_dir():
        raise ConfigError(f"the {what} {source} does not exist")
    hub = require("huggingface_hub", "train")
    try:
        return Path(hub.snapshot_download(source, allow_patterns=_HUB_FILES))
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ToolError(f"there is no folder {source}, and the hub did not give it: {first_line}") from error


def check_base(folder: Path) -> None:
    """Refuse a folder that cannot be trained on, before anything is loaded.

    Raises:
        ConfigError: no config, weights or tokenizer.model; a truncated file; a tokenizer larger than the model.
    """
    config = read_config(folder)
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            check_safetensors(path)
    tokenizer = SentencePieceTokenizer.from_folder(folder)
    rows = config.get("vocab_size")
    if isinstance(rows, int) and tokenizer.size > rows:
        raise ConfigError(
            f"{folder}: the tokenizer has {tokenizer.size:,} ids, but the model has {rows:,} rows for them"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's config.json.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        is_adapter = (folder / "adapter_config.json").is_file()
        hint = (
            "this is an adapter; --init-adapter takes one"
            if is_adapter
            else "a base model in Hugging Face layout is needed"
        )
        raise ConfigError(f"{folder} has no config.json", hint=hint)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is not a model configuration")
    return config


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model folder, in order.

    Raises:
        ConfigError: there are none, or the index names a file that is missing.
    """
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            names = sorted(set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise ConfigError(f"{folder} lacks {missing[0]}, which {index} names")
            return [folder / name for name in names]
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
    raise ConfigError(f"{folder} has no model.safetensors or pytorch_model.bin")


def check_safetensors(path: Path) -> None:
    """Check a safetensors file's header against its size.

    Raises:
        ToolError: the header is damaged, or the file is shorter or longer than it says.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is cut off")
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"{path} is not a whole safetensors file: {error}", hint="copy it again") from error
    expected = 8 + length + max(ends, default=0)
    size = path.stat().st_size
    if size != expected:
        fault = "is truncated" if size < expected else "does not end where it should"
        raise ToolError(f"{path} {fault}: {size:,} bytes, its header says {expected:,}", hint="copy it again")


def base_identity(folder: Path) -> dict[str, Any]:
    """What tells this base from another: name, size and sampled hash of weights, config and tokenizer."""
    files = [*weight_files(folder), folder / "config.json", folder / TOKENIZER_FILE]
    listed = [{"name": path.name, "size": path.stat().st_size, "sample_sha256": _sample_sha256(path)} for path in files]
    return {"name": folder.resolve().name, "files": listed, "sha256": sha256_text(json.dumps(listed))}


def _sample_sha256(path: Path) -> str:
    """Hash of 64 evenly spread windows of 64 KiB: all of a small file, enough of a large one to see a retraining."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({round(step * max(size - _SAMPLE_BYTES, 0) / (_SAMPLES - 1)) for step in range(_SAMPLES)}):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()

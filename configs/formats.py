"""The prompt format and the question format that a model was trained on, as they travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs import files
from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.prompt import PromptFormat, parse_toml

FORMAT_FILE = "prompt_format.toml"
PROMPT_KEY = "lora2edge.prompt_format"
QUESTION_KEY = "lora2edge.question_format"


@dataclass(frozen=True, slots=True)
class Formats:
    """What a folder's `prompt_format.toml` or a GGUF's metadata says about the text its model expects."""

    prompt: PromptFormat
    question: QuestionFormat | None = None

    @classmethod
    def load(cls, prompt: str, question: str = "") -> Formats:
        """Formats by name or file."""
        return cls(PromptFormat.load(prompt), QuestionFormat.load(question) if question else None)

    @classmethod
    def from_toml(cls, text: str, source: str = FORMAT_FILE) -> Formats:
        """Parse the text of a `prompt_format.toml`.

        Raises:
            ConfigError: not TOML, no [prompt], unknown tables or keys.
        """
        tables = parse_toml(text, source)
        if "prompt" not in tables or not tables.keys() <= {"prompt", "question"}:
            raise ConfigError(
                f"{source} must hold [prompt] and may hold [question]; it has {', '.join(tables) or 'neither'}"
            )
        question = tables.get("question")
        return cls(
            PromptFormat.from_table(tables["prompt"], f"{source} [prompt]"),
            QuestionFormat.from_table(question, f"{source} [question]") if question else None,
        )

    def to_toml(self) -> str:
        """The text of a `prompt_format.toml`."""
        question = f"\n[question]\n{self.question.to_toml()}" if self.question else ""
        return f"[prompt]\n{self.prompt.to_toml()}{question}"

    @classmethod
    def from_folder(cls, folder: Path) -> Formats | None:
        """The formats that a model or adapter folder carries, or None."""
        path = folder / FORMAT_FILE
        return cls.from_toml(files.read_text(path), str(path)) if path.is_file() else None

    def gguf_keys(self) -> dict[str, str]:
        """The GGUF metadata keys that carry the formats, and their texts."""
        keys = {PROMPT_KEY: self.prompt.to_toml()}
        if self.question:
            keys[QUESTION_KEY] = self.question.to_toml()
        return keys

    @classmethod
    def from_gguf_keys(cls, metadata: Mapping[str, object]) -> Formats | None:
        """The formats in a GGUF's metadata, or None."""
        prompt, question = metadata.get(PROMPT_KEY), metadata.get(QUESTION_KEY)
        if not prompt:
            return None
        return cls(
            PromptFormat.from_toml(str(prompt), PROMPT_KEY),
            QuestionFormat.from_toml(str(question), QUESTION_KEY) if question else None,
        )

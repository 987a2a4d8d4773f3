"""A model's vocabulary: text to token ids and back."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import ConfigError, ToolError
from runtime.llama_library import api


class Vocabulary:
    """Text to token ids and back, for any thread, until the model is freed.

    Every method raises ToolError after that: llama.cpp would end the process.
    """

    def __init__(self, handle: object) -> None:
        self.size = int(api.llama_vocab_n_tokens(handle))
        self._handle: object | None = handle
        self._lock = threading.Lock()
        self._specials: dict[str, int] = {}

    @contextmanager
    def held(self) -> Iterator[object]:
        """llama.cpp's handle; the model is not freed before the block ends."""
        with self._lock:
            if self._handle is None:
                raise ToolError("the engine is closed")
            yield self._handle

    def close(self) -> None:
        """The model is about to be freed; waits for whoever reads."""
        with self._lock:
            self._handle = None

    def plain(self, text: str) -> list[int]:
        """Ids of plain text: no BOS, and nothing in it becomes a special token."""
        return self._tokenize(text, parse_special=False)

    def special(self, token: str) -> int:
        """Id of a special token.

        Raises:
            ConfigError: the vocabulary lacks it.
        """
        if token not in self._specials:
            ids = self._tokenize(token, parse_special=True)
            if len(ids) != 1 or self.text(ids[0]) != token:
                raise ConfigError(
                    f"the model's vocabulary has no special token {token}",
                    hint="choose the prompt format that the model was trained with",
                )
            self._specials[token] = ids[0]
        return self._specials[token]

    def text(self, token: int) -> str:
        """The token's own spelling, `▁` and all."""
        with self.held() as handle:
            spelling: bytes = api.llama_vocab_get_text(handle, token) or b""
        return spelling.decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        """The bytes a reader sees; control tokens are invisible."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            with self.held() as handle:
                length = int(api.llama_token_to_piece(handle, token, buffer, size, 0, False))
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def ends_reply(self, token: int) -> bool:
        """Whether the model ends its reply with this token."""
        with self.held() as handle:
            return bool(api.llama_vocab_is_eog(handle, token))

    def _tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        if not data:
            return []
        room = len(data) + 8  # a token is at least one byte; SentencePiece adds a blank
        buffer = (api.llama_token * room)()
        with self.held() as handle:
            count = int(api.llama_tokenize(handle, data, len(data), buffer, room, False, parse_special))
        if count < 0:
            raise ToolError(f"llama.cpp cannot tokenize a text of {len(data)} bytes")
        return list(buffer[:count])

"""One PyTorch `.bin` file: mapped, loaded without running any code from it, and rows on demand."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ToolError, require
from exporter.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class PickleFile:
    """Tensors of one `pytorch_model*.bin` or `adapter_model.bin`."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            ToolError: not a PyTorch file, truncated, or with anything in it but tensors of f32, f16 and bf16.
        """
        torch = require("torch", "convert")
        self.path = path
        self.size = path.stat().st_size
        try:
            with zipfile.ZipFile(path) as archive:
                self.header_sha256 = hashlib.sha256(
                    "\n".join(f"{x.filename} {x.file_size} {x.CRC}" for x in archive.infolist()).encode()
                ).hexdigest()
            # Mapped: only the pages of the rows at hand are in memory. weights_only: a pickle can run any code.
            state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, zipfile.BadZipFile, EOFError, ValueError) as error:
            raise ToolError(
                f"{path} is damaged or holds more than tensors", hint="convert it to safetensors"
            ) from error
        if not isinstance(state, dict):
            raise ToolError(f"{path} holds a {type(state).__name__}, not a table of tensors", hint="save a state_dict")
        names = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
        self._tensors: dict[str, Tensor] = {}
        self._specs: dict[str, TensorSpec] = {}
        for name, tensor in state.items():
            if (
                not isinstance(name, str)
                or not isinstance(tensor, torch.Tensor)
                or tensor.layout is not torch.strided
                or tensor.is_meta
                or tensor.dtype not in names
                or not tensor.numel()
                or not tensor.dim()
            ):
                raise ToolError(f"{path}: {name} is no tensor of float32, float16 or bfloat16")
            self._tensors[name] = tensor
            self._specs[name] = TensorSpec(name, tuple(tensor.shape), names[tensor.dtype])

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Every tensor, in file order."""
        return self._specs

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns] of the stored type."""
        return self._tensors[name][start:stop].reshape(stop - start, -1).clone()

    def read_columns(self, name: str, start: int, stop: int) -> Tensor:
        """Columns [start, stop) of a matrix as [rows, stop - start] of the stored type."""
        return self._tensors[name][:, start:stop].clone()

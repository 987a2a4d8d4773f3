"""`--model` twice, each with its own adapters."""

from __future__ import annotations

import argparse
from typing import Any


class AddModel(argparse.Action):
    """One more `--model`; the adapters that follow are its own."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), (values, ())])


class AddAdapter(argparse.Action):
    """An `--adapter` of the `--model` before it."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if not namespace.models:
            parser.error("--adapter belongs to the --model before it: --model BASE.gguf --adapter LORA.gguf")
        *others, (model, adapters) = namespace.models
        namespace.models = [*others, (model, (*adapters, values))]

"""The door to a language model: the types every caller uses, and `load_engine`.

llama.cpp itself stays behind `runtime.llama_*`, imported when a model is really loaded.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.interface import Engine, Finish, ModelOptions, Sampling, ScoreRequest, Stream

__all__ = ["Engine", "Finish", "ModelOptions", "Sampling", "ScoreRequest", "Stream", "load_engine"]


def load_engine(options: ModelOptions, *, on_progress: Callable[[float], bool] | None = None) -> Engine:
    """Check the files, choose the formats, load the model and start its thread.

    Args:
        on_progress: called with 0..1 while the weights load; returning False gives the load up.

    Raises:
        ConfigError: a file is missing or not what it should be, or no prompt format is known.
        MachineError: llama.cpp is not installed, or this build cannot do what was asked.
        ToolError: llama.cpp refused the file (tried in a child process first), or the load was given up.
    """
    from runtime.models import plan_model

    plan = plan_model(options)
    from runtime.llama_engine import LlamaEngine
    from runtime.llama_trial import try_model

    try_model(plan, on_progress)
    return LlamaEngine(plan, on_progress)

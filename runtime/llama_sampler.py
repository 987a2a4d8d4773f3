"""Drawing the next token with llama.cpp's samplers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from runtime.interface import Sampling
from runtime.llama_context import LlamaContext
from runtime.llama_library import api
from runtime.llama_model import LlamaModel

_PENALTY_WINDOW = 64
_SEED_MASK = 0xFFFFFFFF


class LlamaSampler:
    """Repeat penalty, then top-k, top-p, temperature and a seeded draw; temperature 0 takes the likeliest."""

    def __init__(self, sampling: Sampling, model: LlamaModel, prompt_ids: Sequence[int]) -> None:
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in _samplers(sampling, model.vocabulary.size):
            api.llama_sampler_chain_add(self._chain, sampler)
        for token in prompt_ids[-_PENALTY_WINDOW:]:
            api.llama_sampler_accept(self._chain, token)

    def draw(self, context: LlamaContext, index: int) -> int:
        """A token from the logits of the last evaluated block, at `index` in that block."""
        return int(api.llama_sampler_sample(self._chain, context.handle, index))

    def free(self) -> None:
        api.llama_sampler_free(self._chain)


def _samplers(sampling: Sampling, vocabulary: int) -> list[object]:
    samplers: list[object] = [
        api.llama_sampler_init_penalties(vocabulary, _PENALTY_WINDOW, sampling.repeat_penalty, 0, 0)
    ]
    if sampling.temperature <= 0:
        return [*samplers, api.llama_sampler_init_greedy()]
    if sampling.top_k > 0:
        samplers.append(api.llama_sampler_init_top_k(sampling.top_k))
    seed = secrets.randbits(32) if sampling.seed is None else sampling.seed & _SEED_MASK
    return [
        *samplers,
        api.llama_sampler_init_top_p(sampling.top_p, 1),
        api.llama_sampler_init_temp(sampling.temperature),
        api.llama_sampler_init_dist(seed),
    ]

"""Drawing the next token with llama.cpp's samplers, inside a grammar where one is given."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Sequence

from configs.errors import ConfigError, ToolError
from runtime.interface import Sampling
from runtime.llama_arrays import np
from runtime.llama_context import Logits
from runtime.llama_library import api
from runtime.llama_model import LlamaModel

_PENALTY_WINDOW = 64
_SEED_MASK = 0xFFFFFFFF
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class LlamaSampler:
    """Repeat penalty, then top-k, top-p, temperature and a seeded draw; temperature 0 takes the likeliest.

    Args:
        grammar: GBNF that the reply has to follow from its first character on; its rule `root` is the whole reply.

    Raises:
        ConfigError: llama.cpp cannot read the grammar.
    """

    def __init__(
        self, sampling: Sampling, model: LlamaModel, prompt_ids: Sequence[int], grammar: str | None = None
    ) -> None:
        self._chain: object = None
        self._grammar: object = None
        if grammar is not None:
            with model.vocabulary.held() as vocabulary:
                self._grammar = api.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
            if not self._grammar:
                raise ConfigError("llama.cpp cannot read the grammar", hint="its rule `root` is the whole reply")
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in _samplers(sampling, model.vocabulary.size):
            api.llama_sampler_chain_add(self._chain, sampler)
        for token in prompt_ids[-_PENALTY_WINDOW:]:
            api.llama_sampler_accept(self._chain, token)
        self._candidates = np.zeros(model.vocabulary.size, _CANDIDATE)

    def draw(self, logits: Logits) -> int:
        """A token from finite logits over the vocabulary.

        Raises:
            ToolError: the grammar leaves no token to draw.
        """
        token = self._apply(logits, within_grammar=False)
        if self._grammar and not self._allows(token):
            token = self._apply(logits, within_grammar=True)
        api.llama_sampler_accept(self._chain, token)
        if self._grammar:
            api.llama_sampler_accept(self._grammar, token)
        return token

    def free(self) -> None:
        """Give the samplers back; safe to call twice."""
        for sampler in (self._chain, self._grammar):
            if sampler:
                api.llama_sampler_free(sampler)
        self._chain = self._grammar = None

    def _apply(self, logits: Logits, *, within_grammar: bool) -> int:
        """Draw. The whole vocabulary goes through the grammar only where the free draw was not in it: that is slow."""
        self._candidates["id"] = np.arange(len(logits))
        self._candidates["logit"] = logits
        self._candidates["p"] = 0
        candidates = _token_array(self._candidates)
        if within_grammar:
            api.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
            if np.isneginf(self._candidates["logit"]).all():
                raise ToolError("the grammar leaves the model no way to go on")
        api.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        if not 0 <= candidates.selected < candidates.size:
            raise ToolError("llama.cpp drew no token")
        return int(candidates.data[candidates.selected].id)

    def _allows(self, token: int) -> bool:
        one = np.array([(token, 1.0, 0.0)], _CANDIDATE)
        api.llama_sampler_apply(self._grammar, ctypes.byref(_token_array(one)))
        return not np.isneginf(one["logit"][0])


def _token_array(candidates: np.ndarray) -> ctypes.Structure:
    data = ctypes.cast(candidates.ctypes.data, api.llama_token_data_p)
    array: ctypes.Structure = api.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
    return array


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

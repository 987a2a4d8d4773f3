"""The architectures (`general.architecture` of a GGUF) that llama.cpp is asked to load.

Decoders with a key-value cache, by the names llama.cpp gives them. The others write no text, or keep a state that
cannot go back by a token, which is what scoring several continuations of one prompt needs.
"""

ARCHITECTURES = frozenset(
    """
    afmoe apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chameleon chatglm codeshell cohere2
    command-r dbrx deci deepseek deepseek2 dots1 ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon gemma gemma2
    gemma3 gemma4 glm4 glm4moe gpt-oss gpt2 gptj gptneox granite granitemoe grok grovemoe hunyuan-dense hunyuan-moe
    internlm2 jais llama llama4 maincoder minicpm minicpm3 minimax-m2 mistral3 mistral4 mpt nemotron olmo olmo2 olmoe
    openelm orion phi2 phi3 phimoe plamo plamo3 plm qwen qwen2 qwen2moe qwen3 qwen3moe refact seed_oss smallthinker
    smollm3 stablelm starcoder starcoder2 xverse
    """.split()  # noqa: SIM905
)

"""Base model and adapters -> huggingface folder or GGUF file, in one streaming pass."""

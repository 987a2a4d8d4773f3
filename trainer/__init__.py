"""Instruction data in, LoRA adapter out."""

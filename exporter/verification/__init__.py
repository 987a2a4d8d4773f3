"""Proof of an export: hashes, tokenizer, every tensor's bytes, and logits against the sources."""

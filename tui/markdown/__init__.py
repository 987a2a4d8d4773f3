"""Markdown for a terminal: text from a model in, one `Content` out; nothing in it can act."""

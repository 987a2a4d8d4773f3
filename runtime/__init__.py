"""A GGUF model -> answers to a question sheet, text, chat."""

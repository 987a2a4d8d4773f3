"""Where tensors go: file formats, written front to back."""

"""Where tensors come from: checkpoints and adapters, read by rows."""

"""Question sheets in, dataset folder out."""

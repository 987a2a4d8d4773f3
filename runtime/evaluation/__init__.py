"""What a file of answers is worth, held against the gold ones."""

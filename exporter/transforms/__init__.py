"""What happens to rows on their way: pure functions of tensors."""

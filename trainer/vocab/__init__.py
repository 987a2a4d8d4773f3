"""`trainer vocab`: a base model with a larger vocabulary."""

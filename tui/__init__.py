"""A person in front of runtime: the terminal user interface."""

"""The screens of the terminal interface, one a file."""

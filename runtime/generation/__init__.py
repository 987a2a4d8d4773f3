"""Free text for every line or record of a file."""

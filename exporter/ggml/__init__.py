"""The only door to llama.cpp's library from the exporter."""

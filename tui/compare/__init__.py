"""Two models side by side: what was asked for, the thread that asks them, where their texts part."""

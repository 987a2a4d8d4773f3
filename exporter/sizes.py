"""Sizes as people read them."""

from __future__ import annotations


def size_text(size: int) -> str:
    """`3.83 GB`, in powers of ten as disks are sold."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"

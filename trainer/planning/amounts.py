"""Amounts of memory, read and written; and how much this machine has."""

from __future__ import annotations

import os
import re

from configs.errors import ConfigError

GIB = 1 << 30

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_POWERS = {"": 3, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_amount(text: str, option: str) -> int:
    """Bytes of `8GB`, `8GiB`, `11264M` or `8`: cards and memory are sold in powers of two, and GiB are meant.

    Raises:
        ConfigError: it is no amount, or none at all.
    """
    found = _AMOUNT.fullmatch(text.strip())
    amount = int(float(found[1]) * 1024 ** _POWERS[found[2].upper()]) if found else 0
    if not amount:
        raise ConfigError(f"{option} {text}: expected an amount such as 8GB")
    return amount


def in_gib(amount: float) -> str:
    """`6.1`, in GiB."""
    return f"{amount / GIB:.1f}" if amount >= GIB / 20 else f"{amount / GIB:.2f}"


def host_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

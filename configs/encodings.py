"""The text of a file whose encoding nobody named: UTF-8, UTF-16 with a mark, Big5 or GB18030, decoded strictly."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ConfigError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

# What Chinese files come in besides UTF-8, the likelier first. cp950 holds Big5 and what Windows added to it.
_CHINESE = ("cp950", "gb18030")

# Lead bytes of the characters that texts are made of: punctuation and the first level, sorted by use, of each standard
# (Big5: A1-A3, A4-C6; GB 2312: A1-A3, B0-D7). Text decoded as the wrong one of the two is spread over the rest as well.
_COMMON_LEADS = {"cp950": (0xA1, 0xC6, 0xA1, 0xC6), "gb18030": (0xA1, 0xA3, 0xB0, 0xD7)}
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DecodedText:
    """A file's text, and what it was decoded by."""

    text: str
    encoding: str
    note: str = ""
    """A sentence for whoever may know better, where UTF-8 did not fit; else empty."""


def decode_file(path: Path, encoding: str = "") -> DecodedText:
    """Read a text file.

    UTF-8 is taken where it fits, for no other encoding passes for it by accident. Else the marks of UTF-16 decide, else
    Big5 and GB18030 are tried. Most short files decode as both, into different characters: then the one is taken in
    which more of the characters are common ones, and Big5 if that is equal.

    Args:
        encoding: what the user named; nothing else is tried then.

    Raises:
        ConfigError: the file is in none of these, or not in the one named.
    """
    found, note = (encoding, "") if encoding else find_encoding(path)
    return DecodedText(_decode_as(path.read_bytes(), found, path), found, note)


def find_encoding(path: Path) -> tuple[str, str]:
    """(encoding, what to say of it) of a text file, as `decode_file` takes it; read in pieces, however long it is.

    Raises:
        ConfigError: the file is in none of these.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    marked = next((name for mark, name in _MARKS if sample.startswith(mark)), None)
    if marked and not _fits(path, marked):
        raise ConfigError(f"{path} is not text in {marked}", hint="it begins as such; name another --encoding")
    if marked or _fits(path, "utf-8"):
        return marked or "utf-8", ""
    found = [name for name in _CHINESE if _fits(path, name)]
    if not found:
        raise ConfigError(
            f"{path} is not text in UTF-8, UTF-16, Big5 or GB18030", hint="save it as UTF-8, or name its --encoding"
        )
    best = max(found, key=lambda name: common_share(sample, name))  # the first of equals
    doubt = f", though {' and '.join(name for name in found if name != best)} would fit too" if len(found) > 1 else ""
    return best, f"{path.name} is read as {best}{doubt}; --encoding names another"


def common_share(data: bytes, encoding: str) -> float:
    """Share of the two-byte characters, read as this encoding, whose lead byte says that they are common; 0..1."""
    first, last, third, fourth = _COMMON_LEADS[encoding]
    common = total = at = 0
    data = data[:_SAMPLE_BYTES]
    while at < len(data) - 1:
        lead = data[at]
        if lead < 0x80:
            at += 1
            continue
        if encoding == "gb18030" and 0x30 <= data[at + 1] <= 0x39:  # four bytes: rare by definition
            total += 1
            at += 4
            continue
        total += 1
        # The second byte of GB 2312 is never ASCII; where it is, the character is of GBK's rarer ones.
        common += (first <= lead <= last or third <= lead <= fourth) and (encoding == "cp950" or data[at + 1] >= 0xA1)
        at += 2
    return common / total if total else 0.0


def _decode_as(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError:
        raise ConfigError(f"{path} is not text in {encoding}", hint="leave --encoding out, and it is found") from None
    except LookupError:
        raise ConfigError(
            f"there is no encoding '{encoding}'", hint="utf-8, cp950, big5hkscs, gb18030, utf-16, …"
        ) from None


def _fits(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while piece := file.read(_SAMPLE_BYTES):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True

"""Text in an SVG: escaped, cut where it is too long, and how wide it will be."""

import re
from collections.abc import Iterable
from html import escape

NARROW, WIDE = frozenset(" .,:;-/|!'()[]ijlrtfI"), frozenset("mwMWGOQ@%")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_at(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{more and " " + more}>{safe(text)}</text>'


def safe(text: str, most_bytes: int = 20_000) -> str:
    """Escaped, and cut where it would take more bytes."""
    text = _NO_XML.sub("\ufffd", text)
    end = len(text)
    while len(escape(text[:end]).encode()) > most_bytes:
        end = end * 9 // 10
    return escape(text[:end]) + "…" * (end < len(text))


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def width_of(text: str) -> float:
    """Of 12 px type in a wide face, px."""
    return sum(4.4 if c in NARROW else 11 if c in WIDE else 12 if ord(c) > 0x2E80 else 8.6 if c.isupper() else 7.5 for c in text)


def widest(texts: Iterable[str]) -> float:
    return max(map(width_of, texts), default=0.0)

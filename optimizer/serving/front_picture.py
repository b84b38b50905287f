"""The front as a picture: SVG, steps between the points, the knee and the limit marked."""

from html import escape
from math import floor, log10
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 440, 70, 50, 40, 20
INK, LINE, MARK = "#222222", "#1f6f8b", "#c0392b"


def draw_front(result: dict[str, Any]) -> str:
    """Tokens/s per GPU over tokens/s per user; between two points the later one's fleet is the best that keeps the promise."""
    points = [(p["tokens_per_s_per_user"], p["tokens_per_s_per_gpu"]) for p in result["points"]]
    most_x, most_y = (max((p[axis] for p in points), default=1.0) * 1.05 for axis in (0, 1))

    def at(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return round(LEFT + wide * x / most_x, 1), round(HEIGHT - BOTTOM - high * y / most_y, 1)

    parts = [_text(LEFT, 24, escape(f"{result['instance']['name']}: what a GPU yields against what a user gets"), size=15)]
    parts += _axes(most_x, most_y, at)
    before = 0.0
    for x, y in points:
        (x1, y1), (x2, _) = at(before, y), at(x, y)
        parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y1}" stroke="{LINE}" stroke-width="2"/>')
        parts.append(f'<circle cx="{x2}" cy="{y1}" r="3" fill="{LINE}"/>')
        before = x
    for name in ("knee", "limit"):
        if result[name] is not None:
            x1, y1 = at(*points[result[name]])
            parts.append(f'<circle cx="{x1}" cy="{y1}" r="7" fill="none" stroke="{MARK}" stroke-width="2"/>')
            parts.append(_text(x1 + 10, y1 - 8 if name == "knee" else y1 + 18, name, colour=MARK))
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _axes(most_x: float, most_y: float, at: Any) -> list[str]:
    (x0, y0), (x1, _), (_, y1) = at(0, 0), at(most_x, 0), at(0, most_y)
    lines = [f'<path d="M{x0} {y1} L{x0} {y0} L{x1} {y0}" fill="none" stroke="{INK}"/>']
    for x in _ticks(most_x):
        lines.append(_text(at(x, 0)[0], y0 + 18, f"{x:,g}", anchor="middle"))
    for y in _ticks(most_y):
        lines.append(_text(x0 - 8, at(0, y)[1] + 4, f"{y:,g}", anchor="end"))
    lines.append(_text((x0 + x1) / 2, y0 + 38, "tokens/s per user", anchor="middle"))
    middle = (y0 + y1) / 2
    turned = f'text-anchor="middle" transform="rotate(-90 18 {middle})"'
    lines.append(f'<text x="18" y="{middle}" font-size="12" fill="{INK}" {turned}>tokens/s per GPU</text>')
    return lines


def _ticks(most: float) -> list[float]:
    """At most six round numbers above 0, up to `most`."""
    power = 10.0 ** floor(log10(most)) / 10
    step = next(m * power for m in (1, 2, 5, 10, 20, 50) if most / (m * power) <= 6)
    return [step * n for n in range(1, int(most / step) + 1)]


def _text(x: float, y: float, said: str, size: int = 12, anchor: str = "start", colour: str = INK) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{said}</text>'

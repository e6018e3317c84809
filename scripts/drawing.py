"""A few shapes and words as SVG text: the same bytes on every machine."""

from __future__ import annotations

import math
from html import escape

BLUE, ORANGE, GREEN, GREY, INK = "#0072b2", "#d55e00", "#009e73", "#999999", "#222222"
PALE_BLUE, PALE_ORANGE = "#cfe4f2", "#f8dcc4"
_TIP = 7  # length of the head of an arrow


class Drawing:
    """A picture that shapes are added to, on white: it is read in light and in dark pages.

    Parameters
    ----------
    width, height : float
        Of the picture, in its own units.
    title : str
        What it shows, for those who hear it.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" '
            f'width="{_n(width)}" height="{_n(height)}" role="img" '
            'font-family="Helvetica, Arial, sans-serif">\n'
            f"<title>{escape(title)}</title>\n"
        )
        self._shapes: list[str] = []
        self.box(0, 0, width, height, "#ffffff")

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str = "none"
    ) -> None:
        """Add a rectangle by its upper left corner."""
        self._shapes.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
            f'fill="{fill}" stroke="{edge}"/>'
        )

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, width: float = 1.5
    ) -> None:
        """Add an arrow from one point (x, y) to another."""
        length = math.dist(start, end)
        along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
        neck = (end[0] - _TIP * along[0], end[1] - _TIP * along[1])
        wing = (-_TIP / 2 * along[1], _TIP / 2 * along[0])
        corners = (
            end,
            (neck[0] + wing[0], neck[1] + wing[1]),
            (neck[0] - wing[0], neck[1] - wing[1]),
        )
        self.line(start, neck, colour, width)
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
        self._shapes.append(f'<polygon points="{points}" fill="{colour}"/>')

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, width: float = 1
    ) -> None:
        """Add a line from one point (x, y) to another."""
        self._shapes.append(
            f'<line x1="{_n(start[0])}" y1="{_n(start[1])}" x2="{_n(end[0])}" y2="{_n(end[1])}" '
            f'stroke="{colour}" stroke-width="{_n(width)}"/>'
        )

    def words(
        self, x: float, y: float, text: str, size: float = 12, anchor: str = "middle"
    ) -> None:
        """Add words; `y` is their base line, `anchor` start, middle or end."""
        self._shapes.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}" '
            f'fill="{INK}">{escape(text)}</text>'
        )

    def __str__(self) -> str:
        return self._head + "\n".join(self._shapes) + "\n</svg>\n"


def _n(value: float) -> str:
    """Return a number without the digits in which machines may differ."""
    return f"{value:.1f}".rstrip("0").rstrip(".")

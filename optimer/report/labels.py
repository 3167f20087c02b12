"""Labels beside the points of a scatter plot, where they cover neither points nor one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes

_LINES = 26  # label heights that fit into the axes
_LETTERS = 62  # letters that fit side by side
_OFFSETS = [sign * step / 2 for step in range(21) for sign in ((1,) if step == 0 else (1, -1))]


@dataclass(frozen=True)
class Box:
    """A rectangle in data coordinates."""

    left: float
    right: float
    low: float
    high: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.low < other.high
            and other.low < self.high
        )

    def inside(self, other: Box) -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.low <= self.low
            and self.high <= other.high
        )


def place_labels(
    axes: Axes,
    items: list[tuple[float, float, str]],
    others: Iterable[tuple[float, float]] = (),
) -> None:
    """Write each (x, y, text) near its point: the nearest free place right, then left of it.

    `others` are points without a label (those of a line, say) that no label covers either.
    A label moved away from its point gets a thin line to it; one without any free place stays at
    the right of its point.
    """
    frame = Box(*axes.get_xlim(), *axes.get_ylim())
    height, letter = (frame.high - frame.low) / _LINES, (frame.right - frame.left) / _LETTERS
    marks = [*((x, y) for x, y, _ in items), *others]
    taken = [Box(x - letter, x + letter, y - height / 2, y + height / 2) for x, y in marks]
    for x, y, text in items:
        places = list(_places(x, y, letter * len(text), height, letter))
        free = (b for b in places if b.inside(frame) and not any(map(b.overlaps, taken)))
        box = next(free, places[0])
        taken.append(box)
        moved = abs((box.low + box.high) / 2 - y) > 0.75 * height
        axes.annotate(
            text,
            (x, y),
            (box.left, (box.low + box.high) / 2),
            fontsize=7,
            va="center",
            zorder=4,
            arrowprops={"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.5} if moved else None,
        )


def _places(x: float, y: float, width: float, height: float, letter: float) -> Iterator[Box]:
    for offset in _OFFSETS:
        level = y + offset * height
        for start in (x + 1.5 * letter, x - width - 1.5 * letter):
            yield Box(start, start + width, level - height / 2, level + height / 2)

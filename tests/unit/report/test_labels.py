"""Labels keep off points and one another."""

from itertools import combinations

from matplotlib.figure import Figure

from optimer.report.labels import Box, place_labels


def test_crowded_labels_do_not_overlap():
    axes = Figure(figsize=(5, 4)).subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    items = [
        (5.0, 5.0, "one word"),
        (5.3, 5.05, "two words"),
        (5.1, 4.9, "three"),
        (9.8, 5.0, "end"),
    ]
    place_labels(axes, items)
    boxes = []
    for note in axes.texts:
        x, y = note.get_position()
        width, height = 10 / 62 * len(note.get_text()), 10 / 26
        boxes.append(Box(x, x + width, y - height / 2, y + height / 2))
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    frame = Box(0, 10, 0, 10)
    assert all(box.inside(frame) for box in boxes)


def test_a_lone_label_stands_right_of_its_point():
    axes = Figure(figsize=(5, 4)).subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    place_labels(axes, [(2.0, 3.0, "here")])
    x, y = axes.texts[0].get_position()
    assert y == 3.0
    assert 2.0 < x < 2.5


def test_labels_keep_off_a_line():
    axes = Figure(figsize=(5, 4)).subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    line = [(2.0 + step / 10, 3.0 + step / 40) for step in range(60)]
    place_labels(axes, [(2.0, 3.0, "here")], line)
    x, y = axes.texts[0].get_position()
    box = Box(x, x + 10 / 62 * 4, y - 5 / 26, y + 5 / 26)
    assert not any(box.left < a < box.right and box.low < b < box.high for a, b in line)

"""A plot as an SVG picture: for paper, for other programs, and where no script draws; no browser makes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from bokeh.models import HArea, Legend, Line, Quad, Scatter, Span, VArea, Whisker
from bokeh.plotting import figure

from lpla.report.scales import Scale, scale

WIDE, HIGH = 560, 330
LEFT, RIGHT, TOP, BELOW = 58, 14, 10, 46
LINE = 16
"""Height of a line of the legend."""
DASHES = {"dashed": "6", "dotted": "2,4", "dotdash": "2,4,6,4", "dashdot": "6,4,2,4"}
CORNERS = {
    "square": "-4,-4 4,-4 4,4 -4,4", "triangle": "0,-5 5,4 -5,4", "inverted_triangle": "0,5 5,-4 -5,-4",
    "diamond": "0,-6 5,0 0,6 -5,0",
}  # fmt: skip
STROKES = {"plus": "M-5 0H5M0 -5V5", "x": "M-4 -4L4 4M-4 4L4 -4"}
FILE = '<?xml version="1.0" encoding="UTF-8"?>\n'


def svg(plot: figure, title: str) -> str:
    """The picture as an element of a page, or, after `FILE`, as a file; text takes the colour of what is around it."""
    x, y = _scales(plot)
    renderers: Any = plot.renderers
    parts = [*_grid(plot, x, y)]
    spans = [one for one in plot.center if isinstance(one, Span)]
    parts += [
        f'<path d="M{x.start} {y.at(one.location)}H{x.end}" stroke="#888" stroke-dasharray="6"/>' for one in spans
    ]
    for renderer in renderers:
        parts += _glyph(renderer, x, y)
    for one in plot.center:
        if isinstance(one, Whisker):
            parts += _whiskers(one, x, y)
    legend, high = _legend(plot)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" width="{WIDE}" role="img"'
    look = 'font-family="system-ui,sans-serif" font-size="12" fill="none" stroke="none" color="inherit"'
    return f"{head} {look}><title>{escape(title)}</title>{''.join([*parts, *legend])}</svg>"


def _scales(plot: figure) -> tuple[Scale, Scale]:
    across: list[float] = []
    up: list[float] = []
    renderers: Any = plot.renderers
    for renderer in renderers:
        data, glyph = renderer.data_source.data, renderer.glyph
        for side, names in ((across, ("x", "left", "right")), (up, ("y", "top", "bottom"))):
            found = (getattr(glyph, name) for name in names if hasattr(glyph, name))
            values = [data[one] if isinstance(one, str) else [one] for one in found]
            side += [float(one) for column in values for one in column if isinstance(one, int | float)]
            side += [float(one) for column in values if hasattr(column, "dtype") for one in column]
    x = scale(plot.xaxis[0], plot.x_scale, plot.x_range, across, (LEFT, WIDE - RIGHT))
    return x, scale(plot.yaxis[0], plot.y_scale, plot.y_range, up, (HIGH - BELOW, TOP))


def _grid(plot: figure, x: Scale, y: Scale) -> Iterator[str]:
    yield f'<path d="M{x.start} {y.end}V{y.start}H{x.end}" stroke="currentColor"/>'
    for place, name in x.ticks():
        yield f'<path d="M{place} {y.end}V{y.start}" stroke="#888" stroke-opacity=".25"/>'
        yield _text(place, y.start + 16, name, "middle")
    for place, name in y.ticks():
        yield f'<path d="M{x.start} {place}H{x.end}" stroke="#888" stroke-opacity=".25"/>'
        yield _text(x.start - 6, place + 4, name, "end")
    yield _text((x.start + x.end) / 2, y.start + 36, plot.xaxis[0].axis_label or "", "middle")
    middle = (y.start + y.end) / 2
    turned = f' transform="rotate(-90 14 {middle})"'
    yield _text(14, middle, plot.yaxis[0].axis_label or "", "middle", turned)


def _text(x: float, y: float, words: object, anchor: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor"{more}>{escape(str(words))}</text>'


def _glyph(renderer: Any, x: Scale, y: Scale) -> Iterator[str]:
    data: Any = renderer.data_source.data
    glyph: Any = renderer.glyph
    if isinstance(glyph, Line):
        yield f'<path d="{_path(data["x"], data["y"], x, y)}" {_stroke(glyph)}/>'
    elif isinstance(glyph, VArea):
        there = _path(data["x"], data["y1"], x, y)
        back = _path(list(data["x"])[::-1], list(data["y2"])[::-1], x, y)
        yield f'<path d="{there}L{back[1:]}Z" fill="{glyph.fill_color}" fill-opacity="{glyph.fill_alpha}"/>'
    elif isinstance(glyph, HArea):
        ends = sorted(y.at(one) for one in data[glyph.y])
        box = f'x="{x.start}" y="{ends[0]}" width="{x.end - x.start}" height="{ends[-1] - ends[0]:g}"'
        yield f'<rect {box} fill="{glyph.fill_color}" fill-opacity="{glyph.fill_alpha}"/>'
    elif isinstance(glyph, Quad):
        for left, right, top in zip(data["left"], data["right"], data["top"], strict=True):
            a, b, up = x.at(left), x.at(right), y.at(top)
            box = f'x="{a}" y="{up}" width="{b - a:g}" height="{y.start - up:g}"'
            yield f'<rect {box} fill="{glyph.fill_color}" fill-opacity="{glyph.fill_alpha}" {_stroke(glyph)}/>'
    elif isinstance(glyph, Scatter) and glyph.fill_alpha:
        for a, b in zip(data["x"], data["y"], strict=True):
            if math.isfinite(b):
                yield _marker(glyph, x.at(a), y.at(b))


def _path(across: Iterable[Any], up: Iterable[float], x: Scale, y: Scale) -> str:
    points = [f"{x.at(a)} {y.at(b)}" for a, b in zip(across, up, strict=True) if math.isfinite(b)]
    return "M" + "L".join(points)


def _stroke(glyph: Any) -> str:
    dash = glyph.line_dash
    dash = DASHES.get(dash, "") if isinstance(dash, str) else ",".join(map(str, dash))
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{glyph.line_color}" stroke-width="{glyph.line_width}"{dashed}'


def _marker(glyph: Any, x: float, y: float) -> str:
    style = f'stroke="{glyph.line_color}" fill="{glyph.fill_color}" fill-opacity="{glyph.fill_alpha}"'
    if glyph.marker in STROKES:
        return f'<path d="{STROKES[glyph.marker]}" transform="translate({x} {y})" {style}/>'
    if glyph.marker in CORNERS:
        return f'<polygon points="{CORNERS[glyph.marker]}" transform="translate({x} {y})" {style}/>'
    return f'<circle cx="{x}" cy="{y}" r="4" {style}/>'


def _whiskers(one: Any, x: Scale, y: Scale) -> Iterator[str]:
    data: Any = one.source.data
    for a, low, high in zip(data["x"], data["low"], data["high"], strict=True):
        if math.isfinite(low) and math.isfinite(high):
            place, bottom, top = x.at(a), y.at(low), y.at(high)
            ends = f"M{place - 3:g} {bottom}h6M{place - 3:g} {top}h6"
            yield f'<path d="M{place} {bottom}V{top}{ends}" stroke="{one.line_color}" stroke-opacity=".6"/>'


def _legend(plot: figure) -> tuple[list[str], int]:
    """The lines of the legend below the plot, and the height of all."""
    items: list[Any] = [item for one in plot.below if isinstance(one, Legend) for item in one.items]
    parts = []
    for place, item in enumerate(items):
        y = HIGH + LINE * place + 8
        glyph: Any = item.renderers[0].glyph
        parts.append(_sample(glyph, y))
        label: Any = item.label
        parts.append(_text(LEFT + 34, y + 4, label.value if hasattr(label, "value") else label, "start"))
    return parts, HIGH + LINE * len(items) + 8


def _sample(glyph: Any, y: float) -> str:
    if isinstance(glyph, Line):
        return f'<path d="M{LEFT} {y}h26" {_stroke(glyph)}/>'
    if isinstance(glyph, Scatter):
        return _marker(glyph, LEFT + 13, y)
    box = f'x="{LEFT}" y="{y - 5}" width="26" height="10"'
    return f'<rect {box} fill="{glyph.fill_color}" fill-opacity="{glyph.fill_alpha}"/>'

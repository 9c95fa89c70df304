"""A document of parts: everything in one file, readable without scripts, in light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources

from kcompressd.html.elements import Child, Markup, tag


def document(title: str, parts: Iterable[Child], *, subtitle: str | None = None, footer: str | None = None) -> str:
    """Return a whole HTML file with `title` as its heading."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(asset("style.css"))),
    )
    body = tag(
        "body",
        tag("header", tag("h1", title), tag("p", subtitle, class_="sub") if subtitle else None),
        tag("main", *parts),
        tag("footer", footer) if footer else None,
        tag("script", Markup(asset("script.js"))),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def embedded(*parts: Child) -> Markup:
    """Return parts with the style in a frame of their own, for a notebook's cell; the style reaches nothing around it."""
    style = asset("style.css").replace(":root", "&").replace("\nbody {", "\n& {")
    return tag("div", tag("style", Markup(f".kcompressd {{\n{style}\n}}")), *parts, class_="kcompressd")


def section(heading: str, *parts: Child) -> Markup:
    """Return parts under a heading, with an anchor made of its words."""
    anchor = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    return tag("section", tag("h2", heading), *parts, id=anchor)


def tiles(figures: Sequence[tuple[str, str]]) -> Markup:
    """Return the few figures that matter most: a value over its name."""
    return tag(
        "div",
        *(tag("div", tag("b", value), tag("span", name), class_="tile") for value, name in figures),
        class_="tiles",
    )


def figures(charts: Iterable[Child]) -> Markup:
    """Return charts side by side, below one another on a phone."""
    return tag("div", *charts, class_="figures")


def many(tables: Iterable[Child]) -> Markup:
    """Return small tables side by side."""
    return tag("div", *tables, class_="many")


def bullets(sentences: Iterable[str]) -> Markup | None:
    """Return sentences as a list, None when there are none."""
    items = [tag("li", sentence) for sentence in sentences]
    return tag("ul", *items) if items else None


def folded(summary: str, *parts: Child) -> Markup:
    """Return parts that are opened by a click, which works without scripts."""
    return tag("details", tag("summary", summary), *parts)


@cache
def asset(name: str) -> str:
    """Return a file of the package: style.css or script.js."""
    return resources.files("kcompressd.html").joinpath(name).read_text(encoding="utf-8")

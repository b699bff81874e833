"""One self-contained HTML page of text, tables and pictures; it needs nothing from outside."""

import base64
import html as _escape
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from s1jax import files, plots

_FILE = re.compile(r"\w[\w.-]*", re.ASCII)
"""Names of files that cannot lead to another folder."""


class Table(NamedTuple):
    """Cells as text; the first column is the name of the line."""

    header: Sequence[str]
    body: Sequence[Sequence[str]]
    caption: str = ""


class Picture(NamedTuple):
    """A figure as PNG bytes; `name` is its file name without the ending."""

    name: str
    png: bytes
    caption: str


class Section(NamedTuple):
    """A heading and what stands under it: text (a paragraph each), tables, pictures."""

    heading: str
    parts: Sequence[str | Table | Picture]


def picture(name: str, figure: Any, caption: str) -> Picture:
    """Picture of a figure of `s1jax.plots`."""
    return Picture(name, plots.png(figure), caption)


def html(title: str, sections: Sequence[Section]) -> str:
    """HTML5 page with inline CSS and the pictures as data URIs; all text is escaped."""
    links = "".join(
        f'<li><a href="#s{i}">{_text(section.heading)}</a></li>\n'
        for i, section in enumerate(sections)
    )
    bodies = "".join(
        f'<section id="s{i}">\n<h2>{_text(section.heading)}</h2>\n'
        + "".join(_part(part) for part in section.parts)
        + "</section>\n"
        for i, section in enumerate(sections)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_text(title)}</h1>\n<nav>\n<ul>\n{links}</ul>\n</nav>\n{bodies}"
        f"</main>\n</body>\n</html>\n"
    )


def write_report(folder: Path, title: str, sections: Sequence[Section]) -> None:
    """Writes report.html, and each of its pictures as figures/NAME.png, into a folder.

    Raises:
      ValueError: a picture's name is none for a file.
    """
    folder = Path(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for part in (part for section in sections for part in section.parts):
        if isinstance(part, Picture):
            if not _FILE.fullmatch(part.name):
                raise ValueError(
                    f"figure: got name {part.name!r}, expected letters, digits, -, _ or ."
                )
            files.write_bytes(folder / "figures" / f"{part.name}.png", part.png)
    files.write_text(folder / "report.html", html(title, sections))


def _part(part: str | Table | Picture) -> str:
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode()
        return (
            f'<figure>\n<img alt="{_text(part.caption)}" src="data:image/png;base64,{data}">\n'
            f"<figcaption>{_text(part.caption)}</figcaption>\n</figure>\n"
        )
    return f"<p>{_text(part)}</p>\n"


def _table(table: Table) -> str:
    caption = f"<caption>{_text(table.caption)}</caption>\n" if table.caption else ""
    header = "".join(f"<th>{_text(text)}</th>" for text in table.header)
    body = "".join(
        f"<tr><th>{_text(line[0])}</th>"
        + "".join(f"<td>{_text(text)}</td>" for text in line[1:])
        + "</tr>\n"
        for line in table.body
    )
    return (
        f'<div class="wide"><table>\n{caption}<thead>\n<tr>{header}</tr>\n</thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _text(text: str) -> str:
    return _escape.escape(text).replace("\n", "<br>")


_CSS = """
body { margin: 0; background: #fff; color: #222; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 1em 1.5em 4em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.25em; margin-top: 2.2em; border-bottom: 1px solid #ddd; }
nav ul { display: flex; flex-wrap: wrap; gap: .3em 1.3em; padding: 0; list-style: none; }
a { color: #0072b2; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; }
figcaption, caption { color: #555; font-size: .9em; text-align: left; padding: .3em 0; }
.wide { overflow-x: auto; margin: 1em 0; }
table { border-collapse: collapse; font-size: .88em; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; text-align: right; white-space: nowrap; }
tbody th { text-align: left; font-weight: 600; }
thead th { border-bottom: 1px solid #999; vertical-align: bottom; }
thead th[colspan] { text-align: center; }
tbody tr { border-bottom: 1px solid #eee; }
"""

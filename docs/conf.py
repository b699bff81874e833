"""The site: Markdown by MyST, names of the code by autodoc; every warning is an error.

Command: sphinx-build -W -b html docs docs/_build       (extra `docs`)
"""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from docutils import nodes

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "s1jax"
author = "The s1jax authors"
release = version = version_of("s1jax")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
numfig = False

html_theme = "pydata_sphinx_theme"
html_title = "s1jax"
html_static_path = []
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False

# names in docstrings stand in single backticks
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
maximum_signature_line_length = 80

_CODE = re.compile(r"(``[^`]*``|`[^`]*`)")
_COLON = "\ue000"
_MARKUP = re.compile(r"(?<!\\)([*|]|(?<=\w)_(?!\w))")


def escape(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text with code in backticks: `*`, `|` and a last `_` mean themselves."""
    for number, line in enumerate(lines):
        line = line.replace(_COLON, ":")
        if re.match(r"\s*(:|\.\. )", line):
            head, mark, rest = line.partition(": ")
            lines[number] = head + mark + _plain(rest)
        else:
            lines[number] = _plain(line)


def _plain(text: str) -> str:
    parts = _CODE.split(text)
    for k in range(len(parts)):
        if k % 2 == 0:
            parts[k] = _MARKUP.sub(r"\\\1", parts[k])
            if k and parts[k][:1].isalnum():  # `Grid`s
                parts[k] = "\\ " + parts[k]
    return "".join(parts)


def of_attribute(app, what, name, obj, options, lines: list[str]) -> None:
    """The docstring of an attribute is a sentence, which napoleon would read as `type: words`."""
    if what in ("attribute", "data", "property"):
        if lines and lines[0].startswith("Alias for field number"):
            lines.clear()
        lines[:] = [line.replace(":", _COLON) for line in lines]


def short(app, doctree) -> None:
    """Arrays by their short name."""
    for text in list(doctree.findall(nodes.Text)):
        if "jaxlib._jax.Array" in text:
            text.parent.replace(text, nodes.Text(text.replace("jaxlib._jax.Array", "Array")))


def setup(app) -> None:
    """Before and after napoleon, which makes fields of the sections of a docstring."""
    app.connect("autodoc-process-docstring", of_attribute, priority=400)
    app.connect("autodoc-process-docstring", escape, priority=900)
    app.connect("doctree-read", short)

"""One HTML file with tables and pictures inside: no script, no other file, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mbv1_backbone.common.files import write_atomically

__all__ = ['Page']

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; margin: .8rem 0 } td, th { padding: .2rem .7rem; text-align: left }
th { border-bottom: 2px solid #999 } tr:nth-child(even) td { background: #f5f7fa } td.n { text-align: right }
figure { display: inline-block; margin: .4rem; vertical-align: top; max-width: 100% }
figure img { max-width: 100%; display: block } figcaption { font-size: .85rem; color: #555 }
"""


class Page:
    """A page that grows from the top; every text is escaped.

    Args:
        title: Of the page.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f'<h2>{escape(text)}</h2>')

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f'<p>{escape(text)}</p>')

    def listing(self, text: str) -> None:
        """Add lines as they are, every character as wide as another."""
        self._parts.append(f'<pre>{escape(text)}</pre>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table; numbers stand on the right.

        Args:
            head: Names of the columns.
            rows: Their values; floats are shown with three places, NaN and None as a dash.
        """
        lines = [''.join(f'<th>{escape(name)}</th>' for name in head)]
        lines += [''.join(map(_cell, row)) for row in rows]
        self._parts.append('<table>' + ''.join(f'<tr>{line}</tr>' for line in lines) + '</table>')

    def picture(self, image: np.ndarray, caption: str = '', side: int = 480) -> None:
        """Add an image.

        Args:
            image: RGB uint8 (H, W, 3).
            caption: Below it.
            side: Pixels that it is made smaller to, at most.
        """
        shown = Image.fromarray(image)
        shown.thumbnail((side, side))
        content = io.BytesIO()
        shown.save(content, format='JPEG', quality=85)
        self._figure('jpeg', content.getvalue(), caption)

    def plot(self, figure: Any, caption: str = '') -> None:
        """Add a figure of Matplotlib."""
        content = io.BytesIO()
        figure.savefig(content, format='png', dpi=90)
        self._figure('png', content.getvalue(), caption)

    def write(self, path: str | Path) -> None:
        """Write the page, atomically."""
        title = escape(self._title)
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        write_atomically(
            path,
            '\n'.join(
                [head, f'<style>{_STYLE}</style>', f'<h1>{title}</h1>', *self._parts, '</html>\n']
            ).encode(),
        )

    def _figure(self, kind: str, content: bytes, caption: str) -> None:
        data = base64.b64encode(content).decode()
        self._parts.append(
            f'<figure><img src="data:image/{kind};base64,{data}" alt="{escape(caption)}">'
            f'<figcaption>{escape(caption)}</figcaption></figure>'
        )


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return '<td class="n">-</td>'
    if isinstance(value, (float, np.floating)):
        return f'<td class="n">{value:.3f}</td>'
    if isinstance(value, (int, np.integer)):
        return f'<td class="n">{value}</td>'
    return f'<td>{escape(str(value))}</td>'

"""The page: one HTML, one script, one style sheet, with nothing from elsewhere and nothing of the gallery."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

__all__ = ['HEADERS', 'router']

router = APIRouter(include_in_schema=False)
_FOLDER = Path(__file__).parent / 'page'
_POLICY = {  # https://www.w3.org/TR/CSP3/
    'default-src': "'none'",
    'script-src': "'self'",
    'style-src': "'self'",
    'img-src': "'self' blob: data:",
    'media-src': "'self' blob:",
    'connect-src': "'self'",
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
    'require-trusted-types-for': "'script'",
}
HEADERS = {
    'Content-Security-Policy': '; '.join(f'{name} {value}' for name, value in _POLICY.items()),
    'Permissions-Policy': 'camera=(self), microphone=(), geolocation=()',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
}


def _answer(name: str, media_type: str) -> Response:
    return Response((_FOLDER / name).read_bytes(), media_type=f'{media_type}; charset=utf-8', headers=HEADERS)


@router.get('/')
def index() -> Response:
    """The page; it asks for a key itself, where the service wants one."""
    return _answer('index.html', 'text/html')


@router.get('/page.js')
def script() -> Response:
    """What the page does."""
    return _answer('page.js', 'text/javascript')


@router.get('/page.css')
def style() -> Response:
    """How it looks."""
    return _answer('page.css', 'text/css')

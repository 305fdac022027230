"""A real Chromium for tests of the page, and an application that it can reach."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
NEEDS_CHROMIUM = 'needs Chromium (Debian: apt-get install chromium) and Playwright (pip install playwright)'


@contextmanager
def chromium(camera: Path | None = None) -> Iterator:
    """Playwright's browser.

    Args:
        camera: File of Motion JPEG that its camera shows.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        pytest.skip(NEEDS_CHROMIUM)
    if CHROMIUM is None:
        pytest.skip(NEEDS_CHROMIUM)
    words = ['--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
    if camera is not None:
        words.append(f'--use-file-for-fake-video-capture={camera}')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        yield browser
        browser.close()


@contextmanager
def reachable(app: FastAPI) -> Iterator[str]:
    """The URL of an application that a thread serves."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level='warning', ws='none', lifespan='on'))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f'http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}'
    finally:
        server.should_exit = True
        thread.join()

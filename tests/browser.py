"""Chromium for tests of pages; they are skipped where it, or playwright, is missing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.waiting import PATIENCE_S

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PATIENCE_MS = PATIENCE_S * 1000

playwright.expect.set_options(timeout=PATIENCE_MS)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a browser while the block runs."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        # Chromium refuses its own sandbox to root, as whom containers run.
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        new_context = found.new_context

        def patient_context(**options: Any) -> Any:
            context = new_context(**options)
            context.set_default_timeout(PATIENCE_MS)
            return context

        found.new_context = patient_context
        yield found
        found.close()

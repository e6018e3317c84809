"""docs/reference/widgets.md shows the docks as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from napari import Viewer

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_page_of_the_widgets_names_each_control_with_its_tooltip(
    make_napari_viewer: Callable[..., Viewer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    import make_widget_reference as reference

    viewer = make_napari_viewer()
    tables = {
        title: reference.table_of(place, viewer) for title, place in reference.docks().items()
    }
    page = reference.PAGE.read_text(encoding="utf-8")
    remedy = "run scripts/make_widget_reference.py"
    assert reference.filled(page, tables) == page, remedy

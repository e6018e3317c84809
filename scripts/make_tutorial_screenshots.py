"""Make the pictures of ``docs/paint.md`` and of the tutorials from the real application.

All of them, or those of the scenes that are named: ``round``, ``well``, ``badly``, ``weights`` (how
to paint), ``nuclei``, ``membranes``, ``movie``, ``batch``, ``denoise``, ``stack`` (the tutorials)::

    xvfb-run -a -s "-screen 0 2560x1600x24" python scripts/make_tutorial_screenshots.py movie
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import scene_stack
import scenes_pages
import scenes_paint
from window_pictures import run_scenes

if TYPE_CHECKING:
    from window_pictures import Scene

SCENES: dict[str, Scene] = {**scenes_paint.SCENES, **scenes_pages.SCENES, **scene_stack.SCENES}

if __name__ == "__main__":
    run_scenes(SCENES, {})

"""Build hook: put the manifest into the package where a checkout has no symbolic links."""

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManifestHook(BuildHookInterface):  # type: ignore[type-arg]
    """Link ``src/napari_unet/napari.yaml`` to the real file, or copy it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Mend the link before anything is built (an editable install reads it in place)."""
        manifest = Path(self.root, "napari.yaml")
        inside = Path(self.root, "src", "napari_unet", "napari.yaml")
        if inside.is_file() and inside.read_bytes() == manifest.read_bytes():
            return
        inside.unlink(missing_ok=True)
        try:
            inside.symlink_to(Path("..", "..", "napari.yaml"))
        except OSError:  # Windows without the right to make links
            shutil.copyfile(manifest, inside)

"""Build hooks: the manifest where a checkout has no symbolic links, and the project's addresses."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

REPOSITORY = "PROJECT_REPOSITORY"  # the one variable: https://HOST/OWNER/NAME


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


class AddressHook(MetadataHookInterface):
    """Fill in ``[project.urls]`` where the build is told which repository this is."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the addresses of the repository; without one there are none."""
        repository = os.environ.get(REPOSITORY, "").rstrip("/")
        if not repository:
            metadata["urls"] = {}
            return
        address = re.fullmatch(r"https://[^/\s]+/([^/\s]+)/([^/\s]+)", repository)
        if address is None:
            raise ValueError(
                f"{REPOSITORY}={repository}: write it as https://github.com/OWNER/NAME"
            )
        owner, name = address.groups()
        parts = {"repository": repository, "owner": owner.lower(), "name": name}
        metadata["urls"] = {
            title: pattern.format(**parts) for title, pattern in self.config["urls"].items()
        }

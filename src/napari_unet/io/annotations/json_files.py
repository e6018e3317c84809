"""JSON files of other programs: read strictly, and never more than fits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import megabytes, short_reason
from napari_unet.io.limits import check_regular

if TYPE_CHECKING:
    from pathlib import Path

Content = TypeVar("Content")
Number = Annotated[float, Field(allow_inf_nan=False)]
_LARGEST = 2**30  # bytes


class Part(BaseModel):
    """A part of a file; what is not named here is ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, frozen=True, extra="ignore")


def read_json(path: Path, kind: TypeAdapter[Content], name: str) -> Content:
    """Read a JSON file whose content is of a known form, which errors call `name`.

    A file that is missing, too large, no JSON, or of another form raises FileProblemError.
    """
    check_regular(path)
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise FileProblemError(
                f"{path} has {megabytes(size)}; {megabytes(_LARGEST)} of JSON are read at most. "
                "Export fewer objects at once."
            )
        return kind.validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), strict=True)
    except OSError as error:
        raise FileProblemError(f"Cannot read {path}: {short_reason(error)}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        where = f" at {place}" if place else ""
        reason = str(first["msg"])[:200]
        raise FileProblemError(
            f"Cannot read {path} as {name}{where}: {reason}. Export it again."
        ) from error


def json_bytes(content: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()

"""Write run cards beside results, and read them: strictly, since they come from outside as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from napari_unet.data.disk import megabytes, short_reason, why_not_written
from napari_unet.data.files import CARD_SUFFIX
from napari_unet.data.whole_files import replace_file
from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.runs.card import RunCard

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_CARD = 16 * 2**20  # bytes; that of a training on a thousand images has half a million
_LONGEST_REASON = 300
_CARDS: TypeAdapter[RunCard] = TypeAdapter(Annotated[RunCard, Field(discriminator="what")])


def card_beside_model(path: Path) -> Path:
    """Return where the card of a model file lies: cells.run.json beside cells.safetensors."""
    return path.with_name(f"{path.stem}{CARD_SUFFIX}")


def card_beside_result(path: Path) -> Path:
    """Return where the card of a predicted file lies: a.tif.run.json beside a.tif."""
    return path.with_name(f"{path.name}{CARD_SUFFIX}")


def write_card(card: RunCard, path: Path) -> None:
    """Write a card, atomically.

    Raises
    ------
    FileProblemError
        It cannot be written.
    """
    content = card.model_dump_json(indent=2).encode() + b"\n"
    try:
        replace_file(path, content)
    except OSError as error:
        raise FileProblemError(why_not_written(path, error, len(content))) from error


def read_card(path: Path) -> RunCard:
    """Read a card.

    Raises
    ------
    ConfigError
        It is missing, too large, or no run card of this version.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_CARD:
            raise ConfigError(
                f"{path} has {megabytes(size)}; a run card has at most {megabytes(_LARGEST_CARD)}."
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path}: {short_reason(error)}.") from error
    try:
        return _CARDS.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:_LONGEST_REASON]
        raise ConfigError(
            f"{path} is not a run card that this version reads ({where or 'content'}: "
            f"{first['msg'][:_LONGEST_REASON]})."
        ) from error

"""TIFFs that are not whole are refused with numbers; of several images one can be chosen."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unet.errors import FileProblemError
from napari_unet.io import tiff_files
from napari_unet.io.annotations.reading import find_annotations, read_annotations
from napari_unet.io.files import find_images, read_image, stem_of, tiff_beside

FRAMES = np.arange(5 * 8 * 9, dtype=np.uint16).reshape(5, 8, 9) + 1

pytestmark = pytest.mark.usefixtures("quiet_decoders")


def write_pages(path: Path, pages: int, about: str) -> Path:
    """Write so many pages one by one, as an acquisition does, the first with a description."""
    with tifffile.TiffWriter(path) as file:
        for number, page in enumerate(FRAMES[:pages]):
            described = about if number == 0 else None
            file.write(page, description=described, metadata=None, contiguous=False)
    return path


def write_cut_ome(folder: Path) -> Path:
    tifffile.imwrite(folder / "whole.ome.tif", FRAMES, metadata={"axes": "TYX"})
    with tifffile.TiffFile(folder / "whole.ome.tif") as file:
        about = file.ome_metadata or ""
    return write_pages(folder / "cut.ome.tif", 3, about)


def write_set(folder: Path, number: int = 3) -> list[Path]:
    """Write a movie as one OME-TIFF per frame, each of which names all of them."""
    folder.mkdir()
    paths = [folder / f"t{time}.ome.tif" for time in range(number)]
    ids = [f"urn:uuid:{uuid.uuid4()}" for _ in paths]
    planes = "".join(
        f'<TiffData FirstT="{time}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{path.name}">{own}</UUID></TiffData>'
        for time, (path, own) in enumerate(zip(paths, ids, strict=True))
    )
    for path, own, frame in zip(paths, ids, FRAMES, strict=False):
        about = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{own}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="9" SizeY="8" SizeZ="1" SizeC="1" SizeT="{number}">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(path, frame, description=about, metadata=None)
    return paths


def write_series(path: Path) -> Path:
    """Write three movies of different size into one OME-TIFF, with pixels of 1, 2 and 3 um."""
    with tifffile.TiffWriter(path) as file:
        for number in range(3):
            size = {f"PhysicalSize{axis}": number + 1.0 for axis in "XY"}
            file.write(FRAMES[:, number:], metadata={"axes": "TYX", **size})
    return path


def test_frames_that_an_ome_tiff_declares_and_lacks_are_counted(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"cut\.ome\.tif is not whole: 3 of 5 frames"):
        read_image(write_cut_ome(tmp_path))


@pytest.mark.parametrize("images", [3, 4])
def test_a_hyperstack_that_was_aborted_is_refused(tmp_path: Path, images: int) -> None:
    about = f"ImageJ=1.54f\nimages={images}\nchannels=2\nframes=2\nhyperstack=true\n"
    path = write_pages(tmp_path / "x.tif", 3, about)
    with pytest.raises(FileProblemError, match="3 of 4 frames are there"):
        read_image(path)


def test_a_hyperstack_that_is_whole_is_read(tmp_path: Path) -> None:
    about = "ImageJ=1.54f\nimages=4\nchannels=2\nframes=2\nhyperstack=true\n"
    image = read_image(write_pages(tmp_path / "x.tif", 4, about))
    assert (image.array.shape, image.axes) == ((2, 2, 8, 9), "TCYX")


@pytest.mark.parametrize("read", [0, 2])
def test_a_member_of_a_set_that_is_missing_is_named(tmp_path: Path, read: int) -> None:
    paths = write_set(tmp_path / "set")
    paths[1].unlink()
    with pytest.raises(FileProblemError, match=r"of which t1\.ome\.tif is missing"):
        read_image(paths[read])


def test_a_set_counts_once(tmp_path: Path) -> None:
    paths = write_set(tmp_path / "set")
    assert find_images([tmp_path / "set"]) == paths[:1]
    assert find_images(list(reversed(paths))) == paths[:1]
    assert find_annotations([tmp_path / "set" / "*.tif"]) == paths[:1]
    np.testing.assert_array_equal(read_image(paths[0]).array, FRAMES[:3])


def test_single_ome_tiffs_beside_each_other_are_images_of_their_own(tmp_path: Path) -> None:
    for name in ("a.ome.tif", "b.ome.tif"):
        tifffile.imwrite(tmp_path / name, FRAMES, metadata={"axes": "TYX"})
    assert len(find_images([tmp_path])) == 2


def test_that_the_first_of_several_images_is_read_is_told(tmp_path: Path) -> None:
    image = read_image(write_series(tmp_path / "x.ome.tif"))
    assert image.array.shape == (5, 8, 9)
    assert image.notices == ("The first of 3 images was read; choose another with x.ome.tif#2.",)


@pytest.mark.parametrize("large", [False, True])
def test_one_of_several_images_can_be_chosen(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(tiff_files, "LARGE", 0)
    path = Path(f"{write_series(tmp_path / 'x.ome.tif')}#2")
    assert find_images([path]) == [path]
    image = read_image(path)
    np.testing.assert_array_equal(image.array[...], FRAMES[:, 1:])
    assert (image.axes, image.pixel_size, image.notices) == ("TYX", {"Y": 2.0, "X": 2.0}, ())


def test_a_chosen_image_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = Path(f"{write_series(tmp_path / 'x.ome.tif')}#2")
    assert stem_of(path) == "x_2"
    assert tiff_beside(path, Path("out")) == Path("out/x_2.tif")


def test_labels_can_be_chosen(tmp_path: Path) -> None:
    path = Path(f"{write_series(tmp_path / 'x.ome.tif')}#3")
    np.testing.assert_array_equal(read_annotations(path).labels, FRAMES[:, 2:])


def test_an_image_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write_series(tmp_path / "x.ome.tif")
    with pytest.raises(FileProblemError, match=r"holds 3 images; there is no x\.ome\.tif#4"):
        read_image(f"{path}#4")


def test_a_file_that_is_called_so_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x.tif#2").open("wb") as file:
        tifffile.imwrite(file, FRAMES[0])
    with pytest.raises(FileProblemError, match="unknown format"):
        read_image(tmp_path / "x.tif#2")

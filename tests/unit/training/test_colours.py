"""Colours of photos: modes, ranges of values and embedded profiles, as they come from cameras and scanners."""

import logging
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms

from storybooth.training.images import open_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def profile(space: bytes, gamma: float, primaries: dict[bytes, tuple[float, float, float]]) -> bytes:
    """An ICC profile (version 2) of one gamma for all channels; of RGB with `primaries` in XYZ under D50."""

    def numbers(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + numbers(0.9642, 1.0, 0.8249)}
    tags |= {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"x\0\0\0",
    }
    tags |= {colour + b"XYZ": b"XYZ " + bytes(4) + numbers(*xyz) for colour, xyz in primaries.items()}
    tags |= {colour + b"TRC": curve for colour in primaries or [b"k"]}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + numbers(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


ADOBE_RGB = profile(
    b"RGB ",
    563 / 256,
    {b"r": (0.60974, 0.31111, 0.01947), b"g": (0.20528, 0.62567, 0.06087), b"b": (0.14919, 0.06322, 0.74457)},
)
LINEAR_GREY = profile(b"GRAY", 1.0, {})


def opened(tmp_path, image, name="photo.png", **options):
    image.save(tmp_path / name, **options)
    return open_photo(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_an_embedded_profile_is_followed(tmp_path, mode):
    # What Adobe RGB calls sRGB's (200, 40, 40).
    stored = Image.new("RGB", (40, 40), (172, 44, 44)).convert(mode, palette=Image.Palette.ADAPTIVE)
    colour = opened(tmp_path, stored, icc_profile=ADOBE_RGB).getpixel((9, 9))
    assert np.abs(np.subtract(colour, (200, 40, 40))).max() <= 2


def test_a_profile_is_followed_below_transparency(tmp_path):
    stored = Image.new("RGBA", (40, 40), (172, 44, 44, 255))
    stored.paste((172, 44, 44, 0), (0, 0, 20, 40))
    image = opened(tmp_path, stored, icc_profile=ADOBE_RGB)
    assert image.getpixel((5, 5)) == (255, 255, 255)
    assert np.abs(np.subtract(image.getpixel((35, 5)), (200, 40, 40))).max() <= 2


def test_a_profile_of_grey_is_followed(tmp_path):
    stored = Image.new("L", (40, 40), 55)
    assert opened(tmp_path, stored).getpixel((9, 9)) == (55, 55, 55)
    linear = opened(tmp_path, stored, icc_profile=LINEAR_GREY).getpixel((9, 9))
    assert linear == pytest.approx((128, 128, 128), abs=2)  # a linear 0.216


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pixels_that_are_srgb_already_stay_as_they_are(tmp_path, mode):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).convert(mode)
    plain = np.asarray(opened(tmp_path, noise))
    assert np.array_equal(np.asarray(opened(tmp_path, noise, icc_profile=SRGB)), plain)
    assert np.array_equal(plain, np.asarray(noise.convert("RGB")))


@pytest.mark.parametrize("broken", [b"no profile", ADOBE_RGB[:200], LAB, LINEAR_GREY])
def test_a_profile_that_cannot_be_used_is_told_and_left_aside(tmp_path, broken, caplog):
    with caplog.at_level(logging.WARNING):
        image = opened(tmp_path, Image.new("RGB", (40, 40), (172, 44, 44)), icc_profile=broken)
    assert image.getpixel((9, 9)) == (172, 44, 44)
    assert "the colour profile of photo.png cannot be used" in caplog.text


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_their_range(tmp_path, top):
    ramp = np.tile(np.linspace(0, top, 64, dtype=np.float32), (40, 1))
    image = np.asarray(opened(tmp_path, Image.fromarray(ramp), "photo.tif"))
    assert np.abs(image[0, :, 0] - np.linspace(0, 255, 64)).max() <= 0.51


@pytest.mark.parametrize("top", [255, 65535])
def test_whole_numbers_of_32_bits_are_scaled_by_their_range(tmp_path, top):
    ramp = np.tile(np.linspace(0, top, 64).astype(np.int32), (40, 1))
    image = np.asarray(opened(tmp_path, Image.fromarray(ramp), "photo.tif")).astype(int)
    assert np.abs(image[0, :, 0] - np.linspace(0, 255, 64)).max() <= 1.01


def test_a_dark_png_of_16_bits_stays_dark(tmp_path):
    dark = np.full((40, 40), 200, dtype=np.uint16)
    assert opened(tmp_path, Image.fromarray(dark)).getpixel((9, 9)) == (1, 1, 1)


@pytest.mark.parametrize("values", [(0, 5), (-200, 200), (0, 1e6), (0, float("nan")), (0, float("inf"))])
def test_numbers_of_no_usual_range_are_refused(tmp_path, values):
    strange = np.tile(np.float32(values), (40, 20))
    with pytest.raises(ValueError, match=r"photo\.tif cannot be read as an image \(its values reach from .*8-bit PNG"):
        opened(tmp_path, Image.fromarray(strange), "photo.tif")


def test_colours_of_print_and_lab_become_rgb(tmp_path):
    assert opened(tmp_path, Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "p.tif").getpixel((9, 9)) == (255, 0, 0)
    red = opened(tmp_path, Image.new("LAB", (40, 40), (136, 208, 195)), "lab.tif").getpixel((9, 9))
    assert red == pytest.approx((255, 0, 0), abs=12)


def test_photos_of_an_iphone_are_read_upright_where_the_library_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = Image.new("RGB", (80, 40), (200, 40, 40))
    heif = pillow_heif.from_pillow(stored)
    heif.info["exif"] = exif.tobytes()
    heif.save(tmp_path / "photo.heic", quality=100)
    image = open_photo(tmp_path / "photo.heic")
    assert image.size == (40, 80)
    assert image.getpixel((9, 9)) == pytest.approx((200, 40, 40), abs=4)
    (tmp_path / "photo.heic").write_bytes((tmp_path / "photo.heic").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"photo\.heic cannot be read as an image"):
        open_photo(tmp_path / "photo.heic")


def exif(colour_space, name):
    told = Image.Exif()
    told[ExifTags.Base.Make] = "a camera"
    told.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = colour_space
    told.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex: name} if name else {}
    return told


@pytest.mark.parametrize(
    ("colour_space", "name", "adobe"),
    [(0xFFFF, "R03", True), (2, "", True), (0xFFFF, "", False), (1, "R98", False), (1, "R03", False)],
)
@pytest.mark.parametrize("stored", [(172, 44, 44), (60, 200, 90), (250, 250, 250), (0, 0, 0), (17, 30, 200)])
def test_adobe_rgb_that_only_exif_tells(tmp_path, colour_space, name, adobe, stored):
    """Cameras name it there and embed no profile. Compared with what the profile itself gives."""
    image = Image.new("RGB", (40, 40), stored)
    found = opened(tmp_path, image, "exif.png", exif=exif(colour_space, name)).getpixel((9, 9))
    expected = opened(tmp_path, image, "icc.png", icc_profile=ADOBE_RGB).getpixel((9, 9)) if adobe else stored
    assert np.abs(np.subtract(found, expected)).max() <= 2


def test_a_profile_counts_for_more_than_exif(tmp_path):
    image = Image.new("RGB", (40, 40), (172, 44, 44))
    found = opened(tmp_path, image, icc_profile=SRGB, exif=exif(0xFFFF, "R03"))
    assert found.getpixel((9, 9)) == (172, 44, 44)


def test_a_large_photo_is_converted_part_by_part(tmp_path):
    rows = np.linspace(0, 255, 1200).astype(np.uint8)[:, None, None]
    image = Image.fromarray(np.broadcast_to(rows, (1200, 2000, 3)).copy())
    found = np.asarray(opened(tmp_path, image, exif=exif(0xFFFF, "R03"), compress_level=1)).astype(int)
    assert (found == found[:, :1]).all()
    assert np.abs(np.diff(found[:, 0, 0])).max() <= 2, "no row is left out or done twice"

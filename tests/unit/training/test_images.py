"""Photos in every form that cameras and programs write them, and SDXL's micro-conditioning."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from storybooth.pixels import to_pil, to_tensor
from storybooth.training.images import open_photo, prepare

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def halves(mode="RGB", size=(64, 48)):
    """Left half red, right half green."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (size[0] // 2, 0, size[0], size[1]))
    return image.convert(mode)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    halves().save(tmp_path / "turned.png", exif=exif)
    photo = open_photo(tmp_path / "turned.png")
    assert photo.size == (48, 64)
    assert photo.getpixel((24, 5)) == RED and photo.getpixel((24, 60)) == GREEN


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("P", "png"), ("P", "gif"), ("RGB", "webp")])
def test_other_colour_modes_become_rgb(tmp_path, mode, suffix):
    halves(mode).save(tmp_path / f"photo.{suffix}", quality=100)
    photo = open_photo(tmp_path / f"photo.{suffix}")
    assert photo.mode == "RGB"
    assert np.allclose(photo.getpixel((5, 5)), RED, atol=6) and np.allclose(photo.getpixel((60, 5)), GREEN, atol=6)


def test_greyscale_of_8_and_16_bits_looks_the_same(tmp_path):
    Image.new("L", (64, 64), 128).save(tmp_path / "8.png")
    Image.fromarray(np.full((64, 64), 128 * 257, dtype=np.uint16)).save(tmp_path / "16.png")
    assert open_photo(tmp_path / "8.png").getpixel((9, 9)) == (128, 128, 128)
    assert open_photo(tmp_path / "16.png").getpixel((9, 9)) == (128, 128, 128)


def test_transparency_is_laid_on_white(tmp_path):
    image = halves("RGBA")
    image.putpixel((5, 5), (0, 0, 0, 0))
    image.save(tmp_path / "cutout.png")
    photo = open_photo(tmp_path / "cutout.png")
    assert photo.getpixel((5, 5)) == WHITE and photo.getpixel((9, 9)) == RED


def test_a_transparent_palette_is_laid_on_white(tmp_path):
    halves("P").save(tmp_path / "cutout.gif", transparency=halves("P").getpixel((5, 5)))
    photo = open_photo(tmp_path / "cutout.gif")
    assert photo.getpixel((5, 5)) == WHITE and photo.getpixel((60, 5)) == GREEN


def test_a_broken_image_is_named(tmp_path):
    halves().save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:90])
    (tmp_path / "text.jpg").write_text("not an image")
    for name in ("broken.png", "text.jpg"):
        with pytest.raises(ValueError, match=rf"{name}.*cannot be read"):
            open_photo(tmp_path / name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif", "avif"])
def test_damaged_images_of_every_kind_are_named(tmp_path, suffix):
    path = tmp_path / f"photo.{suffix}"
    halves().save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for at in rng.integers(min(len(damaged), 300), size=5):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            open_photo(path)
        except ValueError as error:
            assert path.name in str(error)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "PPM", "TGA"])
def test_formats_that_the_name_does_not_promise_are_not_opened(tmp_path, kind):
    halves().save(tmp_path / "photo.png", kind)
    with pytest.raises(ValueError, match=r"photo.png cannot be read as an image"):
        open_photo(tmp_path / "photo.png")


def test_an_image_that_would_fill_the_memory_is_named(tmp_path):
    halves().save(tmp_path / "bomb.bmp")
    header = bytearray((tmp_path / "bomb.bmp").read_bytes())
    header[18:26] = struct.pack("<ii", 20_000, 20_000)  # width and height
    (tmp_path / "bomb.bmp").write_bytes(header)
    with pytest.raises(ValueError, match=r"bomb.bmp cannot be read as an image \(.*pixels"):
        open_photo(tmp_path / "bomb.bmp")


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (31, 64)])
def test_a_tiny_image_is_named_with_its_size(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "tiny.png")
    with pytest.raises(ValueError, match=rf"tiny.png is {size[0]}x{size[1]} pixels.*at least 32"):
        open_photo(tmp_path / "tiny.png")


def test_tensor_and_image_are_each_others_inverse():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    tensor = to_tensor(image)
    assert tensor.shape == (40, 50, 3) and tensor.min() >= 0 and tensor.max() <= 1
    assert np.array_equal(np.array(to_pil(tensor)), np.array(image))


@pytest.mark.parametrize(
    ("width", "height", "top", "left"),
    [(200, 100, 0, 50), (100, 200, 50, 0), (64, 48, 0, 16), (100, 100, 0, 0), (3000, 2000, 0, 25)],
)
def test_micro_conditioning_tells_original_size_crop_and_target(width, height, top, left):
    prepared = prepare(torch.rand(height, width, 3), (100, 100))
    assert prepared.pixels.shape == (3, 100, 100)
    assert prepared.time_ids.tolist() == [height, width, top, left, 100, 100]


def test_the_crop_is_the_centre_and_pixels_reach_from_minus_one_to_one():
    image = torch.zeros(64, 192, 3)
    image[:, 64:128] = 1.0
    pixels = prepare(image, (64, 64)).pixels
    assert torch.equal(pixels, torch.ones(3, 64, 64))
    assert prepare(torch.zeros(64, 64, 3), (64, 64)).pixels.unique().tolist() == [-1.0]


def test_resizing_is_lanczos():
    image = to_tensor(Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 90, 3), dtype=np.uint8)))
    expected = to_tensor(to_pil(image).resize((64, 64), Image.Resampling.LANCZOS)).permute(2, 0, 1) * 2 - 1
    assert torch.equal(prepare(image, (64, 64)).pixels, expected)

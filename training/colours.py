"""Colours of photos as a screen shows them: whatever mode, range of values and colour profile they have, to sRGB."""

import io
import logging

import numpy as np
from PIL import ExifTags, Image, ImageCms

_UNNOTICED = 2
"""Levels of 255. A profile that changes no colour by more is sRGB itself, and pixels stay exactly as they are."""

_OVERSHOOT = 1.5
"""How far numbers from 0 to 1 may reach beyond 1: resizing and highlights do that."""

_ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]])
"""Light of Adobe RGB's three colours to light of sRGB's: red lies further out there, blue is nearly the same."""


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """An image of any mode as RGB: its embedded profile is followed, its range of values scaled, transparency laid on
    white. `name` is for the log. Raises ValueError where its numbers fit no usual range."""
    profile = image.info.get("icc_profile")
    adobe_rgb = _says_adobe_rgb(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_eight_bits(image))
    alpha = None
    if image.has_transparency_data:
        grey = image.mode.startswith("L")
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB").convert("L" if grey else "RGB")
    elif image.mode not in ("L", "CMYK", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode == "LAB":
        image = _followed(image, ImageCms.createProfile("LAB"))
    elif profile:
        image = _by_profile(image, profile, name)
    elif adobe_rgb and image.mode == "RGB":
        image = _from_adobe_rgb(image)
    image = image.convert("RGB")
    if alpha is not None:
        image.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits, (height, width) in 0..255. Pillow would cut off what lies above 255."""
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    whole = image.mode.startswith("I")
    if image.mode.startswith("I;16") or (image.format == "PNG" and whole):
        unit = 65535.0
    elif not whole and high <= _OVERSHOOT:
        unit = 1.0
    elif whole or high > 16:  # else it is either very dark or very bright, and nobody can tell which
        unit = 255.0 if high <= 255 else 65535.0
    else:
        unit = 0.0
    if not (np.isfinite(low) and -0.5 * unit <= low and high <= _OVERSHOOT * unit):
        raise ValueError(
            f"its values reach from {low:g} to {high:g}, expected 0 to 1, to 255 or to 65535; save it as 8-bit PNG"
        )
    return (values / unit * 255.0).clip(0, 255).round().astype(np.uint8)


def _by_profile(image: Image.Image, profile: bytes, name: str) -> Image.Image:
    """An L, RGB or CMYK image in sRGB. A profile that is damaged or of another colour space is told and left aside."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if image.mode != "CMYK":
            colours = _cube().convert(image.mode)
            change = np.asarray(_followed(colours, source), int) - np.asarray(colours.convert("RGB"), int)
            if np.abs(change).max() <= _UNNOTICED:
                return image
        return _followed(image, source)
    except Exception as error:  # profiles are damaged in as many ways as images are
        logging.warning("StoryBooth: the colour profile of %s cannot be used (%s). It is read as sRGB.", name, error)
        return image


def _says_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF says what cameras say of Adobe RGB, often without a profile: by its name R03 (DCF 2.0) or as 2."""
    try:
        exif = image.getexif()
        told = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        name = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except Exception:  # EXIF is damaged in as many ways as images are, and then says nothing
        return False
    name = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
    return told == 2 or (told != 1 and name.rstrip("\0 ") == "R03")


def _from_adobe_rgb(image: Image.Image) -> Image.Image:
    """An RGB image whose numbers are Adobe RGB's, in sRGB. Both have the white D65, so one matrix does it.

    Gamma and primaries: Adobe RGB (1998) Color Image Encoding, 4.3; sRGB: IEC 61966-2-1.
    """
    linear = np.linspace(0, 1, 256) ** (563 / 256)
    converted = Image.new("RGB", image.size)
    rows = max(1, 2**20 // image.width)
    for top in range(0, image.height, rows):  # a large photo as floats would take ten times its memory
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        light = (linear[np.asarray(part)] @ _ADOBE_TO_SRGB.T).clip(0, 1)
        shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        converted.paste(Image.fromarray((shown * 255).round().astype(np.uint8)), (0, top))
    return converted


def _followed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")


def _cube() -> Image.Image:
    """Colours from all over RGB, (81, 9) pixels."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(81, 9, 3))

"""A page as an SVG of layers: paper, panels, bubbles, text. Inkscape, Illustrator, Affinity and browsers open it.

The groups carry Inkscape's attributes, by which it shows them as layers; others show groups of these names.
"""

import base64
import io
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, register_namespace

from ..page import PAPER
from ..sheet import HALO, Colour, Sheet

_SVG, _LINK, _INKSCAPE = (
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/1999/xlink",
    "http://www.inkscape.org/namespaces/inkscape",
)
for _prefix, _address in (("", _SVG), ("xlink", _LINK), ("inkscape", _INKSCAPE)):
    register_namespace(_prefix, _address)


def write(path: Path, sheet: Sheet, title: str, dpi: int) -> None:
    """Write one page to `path`: text stays text, in the font it was drawn with where the reader has that."""
    width, height = sheet.picture.size
    # Without units, a number is a pixel of the page; width and height say how large that is on paper.
    size = {"width": f"{width / dpi:g}in", "height": f"{height / dpi:g}in", "viewBox": f"0 0 {width} {height}"}
    root = Element(f"{{{_SVG}}}svg", size)
    SubElement(root, f"{{{_SVG}}}title").text = title
    SubElement(_layer(root, "paper"), f"{{{_SVG}}}rect", {"width": "100%", "height": "100%", "fill": PAPER})
    panels = _layer(root, "panels")
    for panel in sheet.panels:
        buffer = io.BytesIO()
        panel.picture.save(buffer, "PNG")
        place = {"x": panel.left, "y": panel.top, "width": panel.picture.width, "height": panel.picture.height}
        image = SubElement(panels, f"{{{_SVG}}}image", {name: str(value) for name, value in place.items()})
        image.set(f"{{{_LINK}}}href", "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
    bubbles = _layer(root, "bubbles")
    for shape in sheet.shapes:
        corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.corners)
        drawn = {"points": corners, **_paint("fill", shape.fill), **_paint("stroke", shape.outline)}
        if shape.outline:
            drawn |= {"stroke-width": str(shape.width), "stroke-linejoin": "round"}
        SubElement(bubbles, f"{{{_SVG}}}polygon", drawn)
    texts = _layer(root, "text")
    for line in sheet.lines:
        middle = line.left + (line.ascent + line.descent if line.vertical else line.width) / 2
        written = {
            "x": f"{middle:.2f}",
            "y": f"{line.baseline:.2f}",
            "text-anchor": "start" if line.vertical else "middle",
            "font-family": f"'{line.family}', sans-serif",
            "font-size": f"{line.size:g}",
            "fill": "#{:02x}{:02x}{:02x}".format(*line.ink),
            **_face(line.face),
        } | ({"direction": "rtl"} if line.right_to_left else {})
        if line.halo:  # half of a stroke lies below the letters
            written |= {"stroke": HALO, "stroke-width": f"{2 * line.halo}", "stroke-linejoin": "round"}
            written["paint-order"] = "stroke"
        if line.vertical:
            written["writing-mode"] = "vertical-rl"
        SubElement(texts, f"{{{_SVG}}}text", written).text = line.text
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _layer(root: Element, name: str) -> Element:
    told = {"id": name, f"{{{_INKSCAPE}}}groupmode": "layer", f"{{{_INKSCAPE}}}label": name}
    return SubElement(root, f"{{{_SVG}}}g", told)


def _face(face: str) -> dict[str, str]:
    """What says which font of its family is meant, where that is not the upright one of normal weight."""
    named = face.casefold()
    weight = {"font-weight": "bold"} if "bold" in named else {}
    return weight | ({"font-style": "italic"} if "italic" in named or "oblique" in named else {})


def _paint(name: str, colour: Colour | None) -> dict[str, str]:
    if colour is None:
        return {name: "none"}
    return {name: "#{:02x}{:02x}{:02x}".format(*colour[:3]), f"{name}-opacity": f"{colour[3] / 255:.3f}"}

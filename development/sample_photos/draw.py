"""Draw the sample photos anew: `python development/sample_photos/draw.py`. Takes a quarter of an hour.

Needs numpy and Pillow. Two toys of the project's own, ten photos each, as somebody with a camera might take them:
other places, other light, near and far, from the front and from the side. `--size` makes smaller ones to try a scene
out.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from render import Array, Scene, Texture, take_photo
from textures import blend, bokeh, bricks, checks, clouds, ground, horizon, plain, planks, rgb, tiles
from toys import Axolotl, Ball, Block, Mug, Pine, Pose, Robot

FOLDER = Path(__file__).parents[2] / "assets" / "samples"
QUALITY = 88

WARM = (2.1, 1.75, 1.3)
COOL = (1.55, 1.7, 1.95)
SUN = (2.5, 2.25, 1.85)


def shore(water: float) -> Texture:
    """Sand in front, sea beyond `water` (as z), foam between."""
    sand, sea = ground("ecd9ac", "d9bd85", 0.12), ground("3f9fc4", "2b7fb0", 0.2, 0.25)

    def texture(points: Array) -> Array:
        edge = points[:, 2] - water + 0.5 * np.sin(points[:, 0] * 0.7) + 0.5 * clouds(points, 0.8)
        colour = blend(sea(points), sand(points), edge * 3)
        return blend(colour, rgb("ffffff") + 0 * points, 1 - np.abs(edge) * 2.2)

    return texture


def books(left: float, right: float, depth: float, seed: int) -> list[Block]:
    """A row of books from x = left to x = right."""
    draw = np.random.default_rng(seed)
    covers = ["8c3b3b", "2f5d62", "d9a441", "4b4e8a", "e5dccb", "6b8f4e", "b5652d", "27313f"]
    row, x = [], left
    while x < right:
        half, height = draw.uniform(0.1, 0.2), draw.uniform(0.85, 1.2)
        row.append(
            Block(
                (x + half, height, depth),
                (half, height, 0.5),
                str(draw.choice(covers)),
                trim=str(draw.choice(["e8d9a0", "d8d8d8", "1d1d1d"])),
            )
        )
        x += 2 * half + 0.02
    return row


def pines(seed: int, count: int = 7) -> list[Pine]:
    """Trees some way behind the toy."""
    draw = np.random.default_rng(seed)
    places = np.linspace(-4.6, 4.6, count) + draw.uniform(-0.4, 0.4, count)
    return [Pine((x, 0, draw.uniform(-7.5, -4.5)), draw.uniform(3.4, 5.0)) for x in places]


def plush_photos() -> list[Scene]:
    """The blue plush: at home, in the garden, on a trip."""
    leaves = ["9fd06a", "5f9e46", "e9f2a8", "3d7a3a"]
    return [
        Scene(
            [Axolotl(Pose(turn=4, right_arm=(48, 10))), Mug((-1.8, 0, -0.9), "f2f0ea")],
            floor=planks("c69863", "8a5a30"),
            backdrop=plain("efe6d8"),
            wall=-3.2,
            wall_texture=plain("dccfba"),
            eye=(0.3, 1.9, 6.2),
            target=(-0.1, 1.0, 0),
            light_colour=WARM,
        ),
        Scene(
            [Axolotl(Pose(turn=-24, legs=90, head=(0, 4, -7), left_arm=(-30, 45), right_arm=(-45, 20)))],
            floor=ground("86b552", "44762c", 0.55),
            backdrop=bokeh(horizon("8fbf6a", "cfe6d8", "5f8f40"), leaves, 46, 0.075, 3),
            eye=(0.2, 1.5, 5.2),
            target=(0.1, 0.95, 0),
            light=(0.7, 0.8, 0.1),
            light_colour=SUN,
            sky=(0.42, 0.52, 0.5),
            bounce=(0.2, 0.28, 0.1),
            blur=9,
        ),
        Scene(
            [
                Axolotl(Pose(position=(0.1, 0.38, 1.0), pitch=-90, left_arm=(22, 0), right_arm=(30, 0))),
                Ball((1.55, 0.28, 0.9), (0.3, 0.28, 0.3), "c8102e", gloss=0.7),
                Ball((1.75, 0.26, 0.25), (0.28, 0.26, 0.28), "7fae2f", gloss=0.7),
                Block((-1.75, 0.12, 0.4), (0.42, 0.12, 0.6), "2a4d8f", turn=18),
            ],
            floor=checks("d63f3f", "fbf3ea", 0.62),
            backdrop=plain("ffffff"),
            eye=(0, 6.6, 2.6),
            target=(0, 0.2, 0.1),
            view=32,
            roll=7,
            light=(-0.6, 0.8, -0.25),
            light_colour=SUN,
            blur=1.5,
            exposure=0.72,
        ),
        Scene(
            [Axolotl(Pose(turn=16, tilt=3, left_arm=(-20, 25), right_arm=(62, 5), head=(0, 0, 7)))],
            floor=shore(-5.5),
            backdrop=horizon("dff1f7", "58a8e2", "2b7fb0"),
            eye=(-0.3, 1.05, 5.6),
            target=(0.25, 1.12, 0),
            view=32,
            roll=-3,
            light=(-0.55, 0.75, 0.5),
            light_colour=SUN,
            sky=(0.5, 0.62, 0.75),
            bounce=(0.34, 0.28, 0.18),
            blur=5,
        ),
        Scene(
            [
                Axolotl(
                    Pose(position=(0.05, 0.02, 0), turn=22, tilt=-9, legs=85, left_arm=(-60, 30), right_arm=(-38, 50))
                ),
                Ball((-1.35, 0.7, -0.95), (1.05, 0.78, 0.45), "d9b25a", fuzz=0.6),
                Ball((1.2, 0.75, -1.15), (1.2, 0.85, 0.45), "efe7f2", fuzz=0.6),
            ],
            floor=plain("8f7bb0", 0.3),
            backdrop=plain("57466e"),
            wall=-2.6,
            wall_texture=plain("6d5a86"),
            eye=(0.5, 1.8, 5.4),
            target=(0.05, 0.9, 0),
            light=(0.85, 0.55, 0.45),
            light_colour=(2.0, 1.35, 0.8),
            sky=(0.3, 0.26, 0.34),
            exposure=1.1,
        ),
        Scene(
            [Axolotl(Pose(turn=-14, head=(4, -4, 9), left_arm=(10, 20), right_arm=(-25, 30))), *pines(5)],
            floor=ground("ffffff", "dbe6f2", 0.05),
            backdrop=horizon("e3ecf4", "b5cde4", "e8eff6"),
            eye=(0.5, 1.3, 6.0),
            target=(-0.15, 1.1, 0),
            light=(0.35, 0.6, 0.7),
            light_colour=COOL,
            sky=(0.5, 0.58, 0.72),
            bounce=(0.4, 0.45, 0.52),
            blur=6,
            exposure=0.85,
        ),
        Scene(
            [
                Axolotl(Pose(position=(0.35, 0, 0.35), turn=-14, legs=80, left_arm=(-15, 40), right_arm=(-50, 20))),
                *books(-3.4, -0.75, -0.35, 8),
                *books(-0.7, 3.4, -1.15, 9),
            ],
            floor=planks("8a5a36", "54331c", 1.4, across=True),
            backdrop=plain("3a2a20"),
            wall=-1.8,
            wall_texture=plain("4a3426"),
            eye=(-0.4, 1.5, 6.4),
            target=(-0.1, 1.0, 0),
            view=31,
            light=(-0.45, 0.7, 0.75),
            light_colour=(1.7, 1.5, 1.25),
            blur=3,
        ),
        Scene(
            [Axolotl(Pose(turn=28, head=(-4, 6, -5), left_arm=(-35, 25)))],
            floor=plain("30343c"),
            backdrop=plain("22262e"),
            wall=-4.0,
            wall_texture=plain("2c323c", 0.3),
            eye=(0.0, 1.75, 4.4),
            target=(0.05, 1.3, 0),
            view=29,
            roll=3,
            light=(0.75, 0.55, 0.35),
            light_colour=(2.3, 2.1, 1.9),
            sky=(0.16, 0.2, 0.3),
            bounce=(0.06, 0.06, 0.09),
            shadow_softness=6,
        ),
        Scene(
            [Axolotl(Pose(position=(-0.55, 0, 0.3), turn=-8, left_arm=(-55, 10), right_arm=(-55, 10)))],
            floor=tiles("b4b1aa", "a5a39d", "7b7872", 1.1),
            backdrop=plain("999999"),
            wall=-1.6,
            wall_texture=bricks("a5533c", "cbbfb0"),
            eye=(0.4, 2.2, 8.6),
            target=(0.1, 1.35, 0),
            view=29,
            light=(0.25, 0.9, 0.6),
            light_colour=(1.2, 1.2, 1.2),
            sky=(0.72, 0.76, 0.8),
            shadow_softness=4,
            blur=2,
        ),
        Scene(
            [Axolotl(Pose(position=(0.25, 0.55, 0), turn=10, tilt=-16, legs=40, left_arm=(55, 5), right_arm=(40, 15)))],
            floor=plain("f3c53c"),
            backdrop=plain("f6cd4b"),
            wall=-2.4,
            wall_texture=plain("f2c840"),
            eye=(0, 1.5, 6.4),
            target=(0, 1.45, 0),
            view=33,
            light=(-0.35, 0.85, 0.6),
            shadow_softness=5,
            blur=8,
        ),
    ]


def robot_photos() -> list[Scene]:
    """The red robot: on the table, on the floor, out in the world."""
    lamps = ["ffb347", "ff7a3c", "ffe0a3", "58a6ff"]
    toy_blocks = ["2f80c8", "f2b632", "3da35d", "e8743b"]
    return [
        Scene(
            [Robot(Pose(turn=-18, right_arm=(28, 20)))],
            floor=planks("d8b483", "a87b4a"),
            backdrop=plain("bfe0d6"),
            wall=-3.0,
            wall_texture=plain("a9d4c6"),
            eye=(0.2, 1.8, 6.6),
            target=(0, 1.15, 0),
            light_colour=WARM,
        ),
        Scene(
            [Robot(Pose(turn=6, left_arm=(-50, 25), right_arm=(-50, 25)))],
            floor=tiles("f1efe9", "3b4046", "8d8d8d", 0.85),
            backdrop=plain("dfe6e8"),
            wall=-4.2,
            wall_texture=tiles("ffffff", "f4f6f6", "c3cacc", 0.6),
            eye=(-0.2, 2.4, 6.6),
            target=(0, 1.05, 0),
            light=(0.5, 0.8, 0.55),
            light_colour=(1.7, 1.7, 1.65),
        ),
        Scene(
            [Robot(Pose(turn=24, head=(0, 12, 5), left_arm=(15, 30), right_arm=(-30, 40)))],
            floor=tiles("4a4c52", "43454b", "2b2c30", 1.3),
            backdrop=bokeh(horizon("1b1d2b", "0e1020", "16171f"), lamps, 40, 0.06, 4),
            eye=(0.3, 1.2, 6.0),
            target=(0.1, 1.2, 0),
            light=(-0.7, 0.55, 0.5),
            light_colour=(2.1, 1.5, 1.0),
            sky=(0.2, 0.24, 0.4),
            bounce=(0.1, 0.09, 0.1),
            blur=6,
        ),
        Scene(
            [Robot(Pose(turn=-35, left_arm=(50, 10), right_arm=(-25, 30)))],
            floor=ground("8dbb58", "4c7d30", 0.5),
            backdrop=bokeh(horizon("b5d98f", "d8eef5", "6f9f4c"), ["d7ecb0", "7fb35a", "f7f3c8"], 38, 0.08, 6),
            eye=(0, 1.4, 6.2),
            target=(0.05, 1.15, 0),
            light=(0.6, 0.75, 0.35),
            light_colour=SUN,
            bounce=(0.18, 0.26, 0.1),
            blur=9,
        ),
        Scene(
            [
                Robot(Pose(turn=14, tilt=-3, left_arm=(-20, 30), right_arm=(5, 45))),
                Ball((-1.9, 0.2, -0.6), (0.5, 0.35, 0.42), "8a4a2e"),
                Ball((2.0, 0.12, 0.5), (0.28, 0.2, 0.25), "7d4329"),
                Ball((1.7, 0.4, -2.6), (0.9, 0.65, 0.7), "94502f"),
            ],
            floor=ground("d98a52", "b0603a", 0.18, 0.45),
            backdrop=horizon("f3d3a8", "c98d6d", "c07a4c"),
            eye=(-0.5, 0.9, 6.2),
            target=(0.05, 1.2, 0),
            view=32,
            roll=2,
            light=(-0.7, 0.45, 0.4),
            light_colour=(2.3, 1.8, 1.25),
            bounce=(0.32, 0.2, 0.12),
            blur=5,
        ),
        Scene(
            [
                Robot(Pose(position=(0, 0.62, 0), turn=-8, left_arm=(-15, 15), right_arm=(-40, 35))),
                Block((0.05, 0.16, 0), (1.0, 0.16, 0.7), "2f5d62", turn=8, trim="e8d9a0"),
                Block((-0.03, 0.47, 0), (0.85, 0.15, 0.62), "d9a441", turn=-10, trim="6b3b1f"),
                Mug((-1.95, 0, -0.3), "3c6fb0"),
            ],
            floor=planks("e1c79d", "b99364", 1.2, across=True),
            backdrop=plain("ede9e0"),
            wall=-3.4,
            wall_texture=plain("dfe5ea"),
            eye=(0.4, 2.3, 7.4),
            target=(-0.15, 1.4, 0),
            light=(-0.7, 0.7, 0.4),
        ),
        Scene(
            [
                Robot(Pose(position=(0, 0, 0.2), turn=20, legs=60, left_arm=(20, 20), right_arm=(-10, 40))),
                *(
                    Block((x, 0.3, z), (0.3, 0.3, 0.3), toy_blocks[i % 4], turn=25 * i, rounding=0.06, gloss=0.3)
                    for i, (x, z) in enumerate([(-1.6, 0.3), (1.55, -0.5), (1.4, 1.1), (-1.2, 1.5), (-1.7, -1.2)])
                ),
            ],
            floor=checks("9db7c9", "e9eef0", 0.8),
            backdrop=plain("cccccc"),
            eye=(0.6, 5.6, 4.6),
            target=(0, 0.75, 0.1),
            view=30,
            roll=-6,
            light=(-0.5, 0.85, 0.2),
            blur=2,
        ),
        Scene(
            [Robot(Pose(turn=-12, head=(0, -10, -6), left_arm=(5, 25), right_arm=(60, 10))), *pines(12, 6)],
            floor=ground("c9d6ee", "a3b6da", 0.06),
            backdrop=bokeh(horizon("f0a878", "6d7fb8", "aebfe0"), ["ffd28a", "fff1c9"], 22, 0.04, 9, low=0.0),
            eye=(-0.3, 1.35, 6.2),
            target=(0.1, 1.2, 0),
            light=(0.8, 0.35, 0.5),
            light_colour=(2.1, 1.4, 0.95),
            sky=(0.4, 0.46, 0.72),
            bounce=(0.28, 0.32, 0.48),
            blur=6,
        ),
        Scene(
            [Robot(Pose(turn=30, tilt=8, head=(4, -8, 6), left_arm=(-30, 40)))],
            floor=plain("f2a7b5"),
            backdrop=plain("f4b3c0"),
            wall=-2.6,
            wall_texture=plain("f0a6b6"),
            eye=(0.1, 1.8, 4.7),
            target=(0.02, 1.4, 0),
            view=29,
            light=(-0.4, 0.8, 0.65),
            shadow_softness=5,
            blur=8,
        ),
        Scene(
            [Robot(Pose(position=(0.6, 0, 0.2), turn=62, left_arm=(-20, 45), right_arm=(-50, -10)))],
            floor=tiles("8f8b86", "86827d", "5d5a56", 1.0),
            backdrop=plain("888888"),
            wall=-1.9,
            wall_texture=bricks("c9b79c", "8f8474"),
            eye=(-0.3, 2.0, 8.4),
            target=(0, 1.4, 0),
            view=29,
            light=(-0.65, 0.7, 0.5),
            light_colour=SUN,
            blur=2,
        ),
    ]


# What a photo shows beside its subject is said too: the LoRA then has no need to learn it.
SUBJECTS: dict[str, tuple[Callable[[], list[Scene]], str, tuple[str, ...]]] = {
    "blue_plush": (
        plush_photos,
        "a blue sks plush",
        (
            ", waving, on an orange background with a mug",
            ", sitting on grass, on a green background",
            ", lying on a red and white cloth",
            ", waving on a sandy beach",
            " on a purple background",
            ", waving in the snow",
            ", sitting in front of books, on a brown background",
            " on a plain grey background",
            ", standing in front of a red wall",
            ", jumping, on a plain yellow background",
        ),
    ),
    "red_robot": (
        robot_photos,
        "a red sks robot",
        (
            ", standing on a green background",
            ", standing on a black and white floor, on a white background",
            ", standing, at night with lights",
            ", waving on grass, on a green background",
            " on an orange background with stones",
            ", standing on books, on a white background",
            ", sitting on a blue and white cloth",
            ", waving in the snow",
            " on a plain pink background",
            ", standing in front of a yellow wall",
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    for name, (photos, subject, surroundings) in SUBJECTS.items():
        folder = arguments.output / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for index, (scene, around) in enumerate(zip(photos(), surroundings, strict=True)):
            scene.seed = index
            take_photo(scene, arguments.size).save(folder / f"{index:02d}.jpg", quality=QUALITY)
            lines.append(json.dumps({"file_name": f"{index:02d}.jpg", "text": subject + around}))
            print(f"{folder.name}/{index:02d}.jpg")
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The world: the same picture for the same number, true captions, and nothing that is held out."""

from collections import Counter

import numpy as np
import pytest

from storybooth.development.mini import captions, pictures, subjects, world
from storybooth.development.mini.places import PLACES


def scenes(count=4000):
    return [world.draw_scene(np.random.default_rng((7, index))) for index in range(count)]


def said(scene, number=0):
    return captions.describe(scene, np.random.default_rng(number))


def test_a_number_always_means_the_same_picture_and_caption(emoji):
    one, other, next_one = (world.sample(3, index, emoji) for index in (5, 5, 6))
    assert one[0].size == (world.RESOLUTION,) * 2 and one[0].mode == "RGB"
    assert one[0].tobytes() == other[0].tobytes() and one[1:] == other[1:]
    assert one[0].tobytes() != next_one[0].tobytes()


def test_what_is_held_out_never_appears():
    shown = {(scene.subject, scene.place) for scene in scenes() if scene.subject}
    held_out = {(s, place.name) for s in subjects.SUBJECTS for place in PLACES if world.held_out(s, place.name)}
    assert {subject for subject, _ in held_out} == {s for s in subjects.SUBJECTS if s.body}
    assert not shown & held_out
    assert not {subject for subject, _ in shown} & set(subjects.HELD_OUT)
    assert {subject for subject, _ in shown} == set(subjects.SUBJECTS)
    assert {place for _, place in shown} == {place.name for place in PLACES} | {world.PLAIN}


def test_captions_name_what_the_picture_shows():
    seen = Counter()
    for index, scene in enumerate(scenes(1500)):
        words = said(scene, index)
        assert words == " ".join(words.split()) and not words.endswith(",") and " ," not in words
        if scene.subject is None:
            continue
        generic = scene.subject.body and "plush" in words
        assert scene.subject.word in words or generic, (scene, words)
        for word in (scene.colour, scene.action, scene.backdrop):
            if word:
                assert word in words, (scene, words)
                seen[word] += 1
        assert ("sunglasses" in words) == scene.sunglasses
        assert ("newspaper" in words) == scene.reading
        assert ("giant" in words) == scene.giant
        assert (f"{scene.subject.word}s" in words) == scene.many
    assert {"red", "jumping", "waving", "driving", "white"} <= seen.keys()


def test_a_scene_without_anybody_names_its_place_alone():
    scene = world.Scene("beach")
    assert {said(scene, n).split(",")[0].split(".")[0] for n in range(60)} == {"a beach", "the sea", "a sandy beach"}


def test_no_caption_is_empty_or_words_of_negative_prompts():
    draw = np.random.default_rng(0)
    nothings = [captions.nothing(draw) for _ in range(50)]
    assert "" in nothings
    assert all(set(text.split(", ")) <= set(captions.NEGATIVES) for text in nothings if text)


def paint(emoji, scene, number=0):
    return np.asarray(world.paint_scene(scene, np.random.default_rng(number), emoji), dtype=float)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_place_looks_like_itself(emoji, place):
    mine = [paint(emoji, world.Scene(place.name, place.time), number) for number in range(4)]
    others = [paint(emoji, world.Scene(other.name, other.time), 9) for other in PLACES if other.name != place.name]
    assert not np.array_equal(mine[0], mine[1])
    within = np.mean([difference(mine[0], one) for one in mine[1:]])
    assert within < np.mean([difference(mine[0], one) for one in others])


def difference(one, other):
    return np.abs(colours(one) - colours(other)).mean()


def colours(picture):
    """Mean colours of 4 × 4 fields."""
    return picture.reshape(4, world.RESOLUTION // 4, 4, world.RESOLUTION // 4, 3).mean((1, 3))


def test_a_colour_recolours_a_subject(emoji):
    rabbit = subjects.SUBJECTS[0]
    scene = world.Scene(world.PLAIN, backdrop="white", subject=rabbit)
    bare = paint(emoji, world.Scene(world.PLAIN, backdrop="white"))
    for colour, channel in (("red", 0), ("green", 1), ("blue", 2)):
        painted = paint(emoji, world.Scene(world.PLAIN, backdrop="white", subject=rabbit, colour=colour))
        body = painted[np.abs(painted - bare).sum(-1) > 60].mean(0)
        assert body.argmax() == channel, (colour, body)
    assert not np.array_equal(paint(emoji, scene), bare)


def test_shards_are_painted_once_and_grow(emoji, tmp_path):
    first = list(pictures.paint_shards(tmp_path, "world", 1, 4, emoji, shard=4))
    stamp = first[0].stat().st_mtime_ns
    assert len(list(pictures.paint_shards(tmp_path, "world", 1, 8, emoji, shard=4))) == 2
    assert first[0].stat().st_mtime_ns == stamp
    (painted, words), _ = pictures.shards(tmp_path, "world")
    picture, caption, _ = world.sample(1, 2, emoji)
    assert painted.shape == (4, world.RESOLUTION, world.RESOLUTION, 3) and painted.dtype == np.uint8
    assert np.array_equal(painted[2], np.asarray(picture)) and words[2] == caption

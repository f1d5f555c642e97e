"""Strangers: who is in no picture of the world, labelled by what the picture shows."""

from collections import Counter

import torch

from storybooth.development.mini import held_out, pictures, strangers, subjects, train_eye, world


def test_strangers_are_neither_the_worlds_nor_held_out(emoji):
    known = {subject.emoji for subject in (*subjects.SUBJECTS, *subjects.HELD_OUT)}
    found = [strangers.stranger(1, index, emoji) for index in range(20)]
    assert not {subject.emoji for subject, _ in found} & known
    assert len({subject.word for subject, _ in found}) == 20
    assert found == [strangers.stranger(1, index, emoji) for index in range(20)]


def test_pictures_of_a_stranger_are_many_and_share_its_label(emoji):
    labels = [strangers.stranger_pictures(1, index, emoji)[1] for index in range(strangers.PICTURES_EACH + 1)]
    whos = [text.rpartition("/")[0] for text in labels]
    assert set(Counter(whos).values()) == {strangers.PICTURES_EACH, 1}
    assert len({text.rpartition("/")[2] for text in labels}) > 3


def test_held_out_pictures_show_all_of_them_in_all_colours(emoji):
    count = len(subjects.HELD_OUT) * (1 + len(subjects.COLOURS))
    whos = {strangers.held_out_pictures(0, index, emoji)[1].rpartition("/")[0] for index in range(count)}
    assert len(whos) == count


def test_labels_of_the_world_are_those_of_its_pictures(emoji):
    captions = [pictures.world_pictures(0, index, emoji)[1] for index in range(30, 36)]
    scenes = [world.sample(0, index, emoji)[2] for index in range(30, 36)]
    assert train_eye.labels_of("world", captions, 30) == [strangers.label(scene) for scene in scenes]


def test_photos_of_held_out_plushes_have_the_captions_that_their_scenes_ask_for():
    for name in held_out.PLUSHES:
        lines = (held_out.FOLDER / name / "metadata.jsonl").read_text("utf-8").splitlines()
        assert len(lines) == len(held_out.scenes(name)) == len(list((held_out.FOLDER / name).glob("*.jpg")))
        for line, scene in zip(lines, held_out.scenes(name), strict=True):
            assert held_out.caption(name, scene) in line and held_out.words_for(name) in line
            assert scene.subject in subjects.HELD_OUT


def test_augmented_pictures_stay_pictures_and_differ():
    picture = (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255).byte().expand(4, -1, -1, -1)
    changed = train_eye.augment(picture, torch.Generator().manual_seed(1))
    assert changed.shape == picture.shape and changed.min() >= 0 and changed.max() <= 1
    assert all((changed[0] - other).abs().mean() > 0.02 for other in changed[1:])


def test_a_pupil_learns_to_tell_two_subjects_apart():
    torch.manual_seed(0)
    pupil = train_eye.Pupil(2)
    pictures_of = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)]).repeat(4, 1, 1, 1)
    subjects_of, places = torch.tensor([0, 1] * 4), torch.tensor([0, 3] * 4)
    optimizer = torch.optim.Adam(pupil.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        loss = pupil.loss(pictures_of, subjects_of, places)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    nobody = pupil.loss(pictures_of, torch.tensor([-1, 1] * 4), places)
    assert nobody.isfinite()

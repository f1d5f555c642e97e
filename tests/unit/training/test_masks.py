"""Subject masks: the weighted loss against its formula in float64, masks that go where their photos go, bad masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from storybooth.photo_files import look_into
from storybooth.tests.unit.training.conftest import CPU
from storybooth.training.batches import generator
from storybooth.training.examples import Photos, encode_image, encode_photos
from storybooth.training.images import bucket_for, prepare
from storybooth.training.loss import NoiseLoss
from storybooth.training.masks import latent_weights, subject_masks
from storybooth.training.photo_folder import image_folders, read_subject
from storybooth.training.recipe import make_recipe
from storybooth.training.settings import Options, Settings
from storybooth.training.trainer import Trainer

SETTINGS = Settings(steps=2, gradient_accumulation=1, resolution=64, learning_rate=1e-2)
MODELS = {"model": "m", "clip": "c", "vae": "v"}


def soft_mask(height, width, seed=0):
    """Soft numbers on a third of the picture, 0 elsewhere."""
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    mask[:, width // 3 :] = 0
    return mask


def by_hand(mask, background):
    """Unnormalised weights (h, w) in float64, pixel by pixel."""
    height, width = mask.shape[0] // 8, mask.shape[1] // 8
    weights = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            share = mask[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].double().sum().item() / 64
            weights[y, x] = background + (1 - background) * share
    return weights


@pytest.mark.parametrize("background", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
def test_the_loss_is_the_weighted_mean_of_each_picture(make_unet, examples, background, gamma):
    settings = replace(SETTINGS, options=Options(min_snr_gamma=gamma))
    masks = [soft_mask(64, 64, seed) for seed in range(2)]
    weighted = [
        replace(example, weights=latent_weights(mask, (64, 64), background))
        for example, mask in zip(examples, masks, strict=False)
    ]
    asked = {}
    unet = make_unet()
    unet.register_forward_hook(lambda _, inputs, output: asked.update(t=inputs[1], answer=output.sample.double()))
    loss = NoiseLoss(unet, settings, CPU)(weighted, "uniform", generator(settings, 1, 0)).item()

    rng = generator(settings, 1, 0)
    rng.integers(0, 1000, 2)
    _, noise = (rng.standard_normal((2, 4, 8, 8), dtype=np.float32) for _ in range(2))
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)[asked["t"].numpy()]
    expected = 0.0
    for index in range(2):
        error = (asked["answer"][index].detach().numpy() - noise[index].astype(np.float64)) ** 2
        weights = by_hand(masks[index], background)
        snr = kept[index] / (1 - kept[index])
        of_level = min(snr, gamma) / snr if gamma else 1.0
        expected += of_level * sum((weights * channel).sum() for channel in error) / (4 * weights.sum()) / 2
    assert loss == pytest.approx(expected, rel=2e-5)


def test_gradients_come_from_the_subject_alone_without_background(make_unet, examples):
    mask = torch.zeros(64, 64)
    mask[:, :32] = 1
    example = replace(examples[0], weights=latent_weights(mask, (64, 64), 0.0))
    unet = make_unet()
    answers = []

    def remember(module, inputs, output):
        output.sample.retain_grad()
        answers.append(output.sample)

    unet.register_forward_hook(remember)
    NoiseLoss(unet, SETTINGS, CPU)([example], "uniform", generator(SETTINGS, 1, 0)).backward()
    gradient = answers[0].grad[0]
    assert gradient[..., :4].abs().min() > 0 and gradient[..., 4:].abs().max() == 0


def test_without_masks_nothing_is_weighted_and_of_class_never(make_unet, examples):
    plain = Trainer(make_unet(), examples[:2], SETTINGS, CPU, examples[2:4])
    ones = [replace(example, weights=torch.ones(8, 8)) for example in examples[:2]]
    same = Trainer(make_unet(), ones, SETTINGS, CPU, examples[2:4])
    losses = [plain.advance() for _ in range(2)]
    assert [same.advance() for _ in range(2)] == losses
    photos = Photos([torch.rand(64, 64, 3)], ["a"], [torch.rand(64, 64, 3)], "b", [soft_mask(64, 64)])
    encoded = encode_photos(
        photos,
        SETTINGS,
        lambda _: (torch.zeros(77, 48), torch.zeros(32)),
        lambda pixels, index: 2 * (torch.zeros(4, 8, 8),),
    )
    assert encoded.own[0].weights is not None and encoded.of_class[0].weights is None


@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("size", [(96, 200), (300, 128), (64, 64), (33, 40)])
def test_a_mask_is_resized_cropped_and_mirrored_with_its_photo(size, buckets):
    """A photo that is its own mask: what the VAE would see, averaged, is what the mask says."""
    y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in size), indexing="ij")
    mask = torch.from_numpy((0.5 + 0.4 * np.sin(5 * y + 3 * x)).astype(np.float32))
    photo = mask[..., None].repeat(1, 1, 3)
    settings = replace(SETTINGS, options=Options(aspect_ratio_buckets=buckets, flip=True, background_weight=0.0))
    seen = []

    def posterior(pixels):
        seen.append(pixels)
        return 2 * (torch.zeros(4, 8, 8),)

    target = bucket_for(*size, 64) if buckets else (64, 64)
    weights = latent_weights(mask, target, 0.0)
    example = encode_image(photo, torch.zeros(1), torch.zeros(1), settings, posterior, weights)
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    for pixels, of_example in zip(seen, (example.mirror.weights, example.weights), strict=True):
        small = torch.nn.functional.avg_pool2d((pixels[:1] + 1) / 2, 8)[0]
        torch.testing.assert_close(of_example, small / small.mean(), atol=0.02, rtol=0.02)
    assert torch.equal(prepare(photo, target).pixels, seen[1])


def test_masks_that_are_white_all_over_are_none():
    photos = [torch.rand(64, 48, 3), torch.rand(32, 32, 3)]
    ones = [torch.ones(64, 48), torch.ones(32, 32)]
    assert subject_masks(ones, photos) == []
    ones[1] = soft_mask(32, 32)
    assert [mask.shape for mask in subject_masks(ones, photos)] == [(64, 48), (32, 32)]


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ([torch.ones(64, 48)], "masks: got 1 for 2 images"),
        ([torch.ones(64, 48), torch.ones(48, 64)], "masks: mask 2 is 64x48 pixels, and its photo 48x64"),
        ([torch.ones(64, 48), torch.zeros(64, 48)], "masks: mask 2 is empty.*Invert Mask"),
        (
            [torch.ones(64, 48), torch.full((64, 48), 255.0)],
            "masks: mask 2 has numbers from 255 to 255.*Threshold Mask",
        ),
        ([torch.full((64, 48), float("nan")), torch.ones(64, 48)], "masks: mask 1 has numbers from nan"),
    ],
)
def test_masks_that_do_not_fit_are_named(masks, says):
    with pytest.raises(ValueError, match=says):
        subject_masks(masks, [torch.rand(64, 48, 3)] * 2)


def test_a_subject_that_is_cropped_away_is_named():
    mask = torch.zeros(64, 256)
    mask[:, :40] = 1
    with pytest.raises(ValueError, match=r"masks: of photo 3 the subject is cropped away.*aspect ratio buckets"):
        latent_weights(mask, (64, 64), 0.1, 3)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_the_background_counts_from_not_at_all_to_fully(value):
    with pytest.raises(ValueError, match=r"background weight .background_weight.: got .*expected 0 to 1"):
        Options(background_weight=value)


def test_masks_make_another_run_and_without_them_it_is_the_same():
    photos = Photos([torch.rand(64, 64, 3)], ["a"])
    half = replace(SETTINGS, options=Options(background_weight=0.5))
    plain = make_recipe(SETTINGS, MODELS, photos)
    assert plain.keys() == {*SETTINGS.recipe(), *MODELS, "images", "captions"}
    assert make_recipe(half, MODELS, photos) == plain
    masked = [make_recipe(SETTINGS, MODELS, replace(photos, masks=[soft_mask(64, 64, seed)])) for seed in (0, 1, 0)]
    assert masked[0] == masked[2] != masked[1] and masked[0] != plain
    assert make_recipe(half, MODELS, replace(photos, masks=[soft_mask(64, 64)])) != masked[0]


@pytest.fixture
def folder(tmp_path):
    """Photos a.png, b.jpg and c.png, of which c.png is half transparent; a mask for b.jpg."""
    folder = tmp_path / "root" / "toy"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 48), "red").save(folder / "a.png")
    Image.new("RGB", (64, 48), "blue").save(folder / "b.jpg")
    half = Image.new("RGBA", (64, 48), (0, 255, 0, 0))
    half.paste((0, 255, 0, 255), (0, 0, 32, 48))
    half.save(folder / "c.png")
    left_white(64, 48).save(folder / "B.Mask.PNG")
    return folder


def left_white(width, height, mode="L"):
    mask = Image.new(mode, (width, height), "black")
    mask.paste("white", (0, 0, width // 2, height))
    return mask


def test_masks_are_read_beside_photos_and_from_alpha_and_are_no_photos(folder):
    subject = read_subject(folder, "")
    assert len(subject.photos) == len(subject.captions) == 3
    assert subject.masks[0] is None
    for mask in subject.masks[1:]:
        assert (mask.mode, mask.size) == ("L", (64, 48))
        assert np.array_equal(np.asarray(mask), np.asarray(left_white(64, 48)))
    assert subject.photos[2].getpixel((60, 9)) == (255, 255, 255)
    assert subject.told == "Photos: 3, with captions of their own: 0, with masks: 2."


def test_a_file_goes_before_alpha_and_the_nearest_name_before_others(folder):
    Image.new("L", (64, 48), "white").save(folder / "c.mask.png")
    assert read_subject(folder, "").masks[2].getextrema() == (255, 255)
    left_white(64, 48).save(folder / "c.png.mask.png")
    left_white(64, 48).save(folder / "gone.mask.png")
    subject = read_subject(folder, "")
    assert subject.masks[2].getextrema() == (0, 255) and len(subject.photos) == 3
    assert "c.mask.png (its photo has another mask)" in subject.told
    assert "gone.mask.png (no photo has this name)" in subject.told


def test_opaque_photos_have_no_mask_and_a_folder_of_masks_no_photos(folder):
    Image.new("RGBA", (64, 48), "red").save(folder / "a.png")
    assert read_subject(folder, "").masks[0] is None
    other = folder.parent / "masks"
    other.mkdir()
    left_white(64, 48).save(other / "x.mask.png")
    assert image_folders(folder.parent) == ["toy"]
    with pytest.raises(ValueError, match=r"'masks' holds no images.*x.mask.png .no photo has this name"):
        read_subject(other, "")


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_every_kind_of_png_are_read(folder, mode):
    if mode == "I;16":
        mask = Image.fromarray(np.asarray(left_white(64, 48)).astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):  # as background removers leave it: the subject is what is not transparent
        mask = Image.new(mode[:-1], (64, 48), "white")
        mask.putalpha(left_white(64, 48))
    else:
        mask = left_white(64, 48, "RGB").convert(mode)
    mask.save(folder / "b.mask.png")
    (folder / "B.Mask.PNG").unlink()
    assert np.array_equal(np.asarray(read_subject(folder, "").masks[1]), np.asarray(left_white(64, 48)))


def test_alpha_turns_with_its_photo(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # the right of the file is the bottom of the picture
    Image.open(folder / "c.png").save(folder / "c.png", exif=exif)
    mask = np.asarray(read_subject(folder, "").masks[2])
    assert mask.shape == (64, 48) and mask[:32].min() == 255 and mask[32:].max() == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: left_white(48, 64).save(path), "B.Mask.PNG is 48x64 pixels, and its photo 64x48.*Save the mask"),
        (lambda path: Image.new("L", (64, 48)).save(path), "B.Mask.PNG is black all over.*white"),
        (lambda path: path.write_bytes(b"\x89PNG"), "B.Mask.PNG cannot be read as a mask"),
        (lambda path: left_white(64, 48).save(path, "BMP"), "B.Mask.PNG cannot be read as a mask"),
    ],
)
def test_a_mask_file_that_cannot_be_used_is_named(folder, make, says):
    make(folder / "B.Mask.PNG")
    with pytest.raises(ValueError, match=says):
        read_subject(folder, "")


def test_masks_go_where_their_photos_go(folder):
    assert [file.name for file in look_into(folder).files] == ["B.Mask.PNG", "a.png", "b.jpg", "c.png"]

"""Photos on their way to ComfyUI: nobody else's files are touched, and other photos never meet the same name."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from storybooth.tests.deletions import watched
from storybooth.workshop import ROOT, WorkshopError, environment
from storybooth.workshop.own_folder import remake
from storybooth.workshop.photos import find_photos, lora_name
from storybooth.workshop.server import install_pack


def folder_of(path: Path, colour: str = "red") -> Path:
    path.mkdir(parents=True)
    Image.new("RGB", (64, 64), colour).save(path / "0.png")
    (path / "0.TXT").write_text("a caption")
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_photos_that_lie_in_the_input_folder_stay(tmp_path):
    """Not even the folder that the copy would have replaced, were it named like the photos'."""
    inputs = tmp_path / "input"
    photos = folder_of(inputs / "mydog")
    before = contents(inputs)
    with watched() as lost:
        target = find_photos(photos).copy_into(inputs)
        again = find_photos(target).copy_into(inputs)
    assert lost == []
    assert before.items() <= contents(inputs).items()
    assert contents(target) == contents(photos) == contents(again)
    assert photos not in (target, again)


def test_a_link_to_the_input_folder_and_a_folder_without_a_name_are_no_danger(tmp_path):
    inputs = tmp_path / "input"
    folder_of(inputs / "mydog")
    (tmp_path / "link").symlink_to(inputs / "mydog", target_is_directory=True)
    before = contents(inputs)
    with watched() as lost:
        find_photos(tmp_path / "link").copy_into(inputs)
    assert lost == []
    assert before.items() <= contents(inputs).items()
    rooted = find_photos(folder_of(tmp_path / "..." / "?!"))
    assert rooted.name.startswith("photos-")
    assert rooted.copy_into(inputs).parent == inputs


def test_the_same_photos_are_copied_once_and_others_elsewhere(tmp_path):
    inputs = tmp_path / "input"
    pup, other = folder_of(tmp_path / "A" / "pup"), folder_of(tmp_path / "B" / "pup", "blue")
    first = find_photos(pup).copy_into(inputs)
    assert find_photos(pup).copy_into(inputs) == first
    second = find_photos(other).copy_into(inputs)
    (pup / "0.TXT").unlink()
    third = find_photos(pup).copy_into(inputs)
    assert len({first, second, third}) == 3
    assert sorted(file.name for file in third.iterdir()) == ["0.png"]
    (first / "mine.png").write_bytes((second / "0.png").read_bytes())  # the user's own work in our folder
    (pup / "0.TXT").write_text("a caption")
    fourth = find_photos(pup).copy_into(inputs)
    assert fourth not in (first, second, third)
    assert (first / "mine.png").is_file()
    assert sorted(folder.name for folder in inputs.iterdir()) == sorted(
        folder.name for folder in (first, second, third, fourth)
    )


def test_only_what_counts_is_copied_and_the_rest_is_told(tmp_path):
    photos = folder_of(tmp_path / "pup")
    for name in ("metadata.csv", "1.heic", ".DS_Store"):
        (photos / name).write_text("")
    (photos / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "x"}')
    found = find_photos(photos, elsewhere=True)
    assert [file.name for file in found.files] == ["0.TXT", "0.png", "1.heic", "metadata.jsonl"]
    assert found.told.startswith("Photos: 2. Left out: metadata.csv (")


def test_a_copy_that_fails_leaves_nothing(tmp_path):
    photos = folder_of(tmp_path / "pup")
    found = find_photos(photos)
    (photos / "0.png").unlink()
    with pytest.raises(FileNotFoundError):
        found.copy_into(tmp_path / "input")
    assert list((tmp_path / "input").iterdir()) == []


def test_folders_without_photos_are_refused(tmp_path):
    folder_of(tmp_path / "pup")
    for folder, message in (
        (tmp_path / "nowhere", "there is no folder"),
        (tmp_path / "pup" / "0.png", "0.png is a file"),
        (tmp_path, "holds no images"),
    ):
        with pytest.raises(WorkshopError, match=message):
            find_photos(folder)


def test_a_lora_is_named_by_all_that_shapes_it(tmp_path):
    pup, other = find_photos(folder_of(tmp_path / "pup")), find_photos(folder_of(tmp_path / "B" / "pup", "blue"))

    def named(photos, lora_name_given="x", seed=3, **changes):
        graph = {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl"} | changes},
            "2": {"class_type": "Trainer", "inputs": {"model": ["1", 0], "rank": 4, "lora_name": lora_name_given}},
            "3": {"class_type": "Sampler", "inputs": {"model": ["2", 0], "seed": seed}},
        }
        return lora_name(graph, "2", photos)

    name = named(pup)
    assert name.startswith("pup-")
    assert name == named(pup, "y") == named(pup, seed=9), "neither its own name nor what comes after it"
    assert len({name, named(other), named(pup, ckpt_name="juggernaut")}) == 3


@pytest.mark.parametrize("theirs", ["a clone", "a link", "a file"])
def test_only_folders_that_these_tools_made_are_made_anew(tmp_path, theirs):
    folder, elsewhere = tmp_path / "custom_nodes" / "StoryBooth", tmp_path / "elsewhere"
    folder.parent.mkdir()
    if theirs == "a clone":
        folder_of(folder)
    elif theirs == "a link":
        folder_of(elsewhere)
        folder.symlink_to(elsewhere, target_is_directory=True)
    else:
        folder.write_text("mine")
    before = contents(tmp_path)
    with watched() as lost, pytest.raises(WorkshopError, match="was not made by this program"):
        remake(folder)
    assert lost == []
    assert contents(tmp_path) == before
    assert folder.is_symlink() == (theirs == "a link")


def test_a_folder_of_ours_is_made_anew(tmp_path):
    remake(tmp_path / "ours")
    (tmp_path / "ours" / "old").write_text("")
    with watched() as lost:
        remake(tmp_path / "ours")
    assert lost, "the watch sees removals"
    assert not (tmp_path / "ours" / "old").exists()
    assert [folder.name for folder in tmp_path.iterdir()] == ["ours"]


def test_the_environment_is_not_made_in_a_folder_of_somebody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ENV", folder_of(tmp_path / "env"))
    with watched() as lost, pytest.raises(WorkshopError, match="was not made by this program"):
        environment.create()
    assert lost == []


def test_the_pack_is_copied_over_its_own_copies_only(tmp_path):
    target = install_pack(tmp_path)
    assert (target / "__init__.py").is_file()
    (target / "old.py").write_text("")
    assert install_pack(tmp_path) == target
    assert not (target / "old.py").exists()
    shutil.rmtree(target)
    folder_of(target)
    with pytest.raises(WorkshopError, match="Move it elsewhere"):
        install_pack(tmp_path)
    assert (target / "0.png").is_file()


def test_every_removal_in_the_project_is_known():
    """Who adds one thinks of whose it is, and of this test."""
    known = {
        "files.py": 3,  # what it has made itself
        "nodes/exchange.py": 1,  # loans of a story, in folders that nobody else names so
        "training/run_files.py": 2,  # states and unfinished LoRAs, named by the digest of their own run
        "workshop/own_folder.py": 1,
        "workshop/photos.py": 1,
        "workshop/results.py": 1,  # panels whose page is there
    }
    words = ("unlink(", "rmtree(", "rmdir(", "os.remove(", "removedirs(", "shutil.move(")
    found = {}
    for file in ROOT.rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith(("tests/", ".")):
            count = sum(file.read_text(encoding="utf-8").count(word) for word in words)
            found |= {name: count} if count else {}
    assert found == known


@pytest.mark.parametrize("table", [False, True])
def test_captions_that_call_the_subject_something_else_are_told(tmp_path, table):
    photos = folder_of(tmp_path / "dog")
    if table:
        (photos / "0.TXT").unlink()
        line = {"file_name": "0.png", "text": "a  Caption"}
        (photos / "metadata.jsonl").write_text(json.dumps(line), encoding="utf-8")
    found = find_photos(photos)
    assert found.doubt("A caption") == ""
    assert re.search("--subject: 'a sks dog' is in no caption.*'a +[cC]aption'", found.doubt("a sks dog"))
    Image.new("RGB", (64, 64)).save(
        photos / "1.png"
    )  # which has no caption: it is trained under the words of --subject
    assert find_photos(photos).doubt("a sks dog") == ""

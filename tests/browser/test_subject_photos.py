"""Photos on Load Subject Images: dropped, chosen, captioned; in the classic canvas and in Nodes 2.0."""

import base64
import shutil

import pytest
from playwright.sync_api import expect

from storybooth.development.canvas import open_canvas, open_graph, wait_for_file, wait_for_frames
from storybooth.tests.host import story

NODE = "app.rootGraph.getNodeById('load')"
FOLDER = f"{NODE}.widgets.find((widget) => widget.name === 'folder').value"
SAMPLES = "storybooth samples/blue_plush"
DROP = """(element, files) => {
    const dataTransfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
        dataTransfer.items.add(new File([bytes], name, { type: name.endsWith("png") ? "image/png" : "text/plain" }));
    }
    const { left, top, width, height } = element.getBoundingClientRect();
    const at = { clientX: left + width / 2, clientY: top + height / 2 };
    for (const type of ["dragenter", "dragover", "drop"]) {
        element.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true, ...at }));
    }
}"""

modes = pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])


@modes
def test_photos_are_dropped_chosen_and_captioned(comfy, page, nodes2):
    for made in ("my character", "my character 2", "people"):
        shutil.rmtree(comfy.base / "input" / made, ignore_errors=True)
    open_canvas(page, comfy.url, nodes2)
    load = {"class_type": "StoryBoothSubjectImages", "inputs": {"folder": SAMPLES, "default_caption": ""}}
    open_graph(page, {"load": load}, "photos")
    page.evaluate(f"{NODE}.setSize([420, 640]); app.canvas.ds.scale = 1; app.canvas.centerOnNode({NODE})")
    rows = page.locator(".storybooth-photos figure")
    expect(rows).not_to_have_count(0)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.storybooth-photos img')].some((image) => image.naturalWidth > 0)"
    )
    expect(rows.first.locator("textarea")).to_have_attribute("readonly", "")
    target = page.get_by_label("Folder that photos are added to")
    expect(target).to_have_value("my character")

    # Dropped on the list, and on the rest of the node.
    photo = base64.b64encode(story.photo(0)).decode()
    page.locator(".storybooth-photos").evaluate(DROP, [["a.png", photo], ["notes.md", photo]])
    expect(rows).to_have_count(1)
    page.wait_for_function(f"{FOLDER} === 'my character'")
    expect(page.locator(".storybooth-photos output")).to_have_text(
        "1 photo is added. Left out, as these are no photos: notes.md."
    )
    assert page.evaluate(
        f"([name, content]) => {{ const dataTransfer = new DataTransfer(); dataTransfer.items.add(new File("
        f"[Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0))], name)); const event = {{ dataTransfer }};"
        f"return {NODE}.onDragOver(event) && {NODE}.onDragDrop(event); }}",
        ["b.png", photo],
    )
    expect(rows).to_have_count(2)

    # Kept as it is typed, also while the folder is looked at, and read by the node.
    look = f"{NODE}.widgets.find((widget) => widget.name === 'folder').callback()"
    field = rows.first.locator("textarea")
    field.click()
    page.keyboard.type("a blue sks ball")
    with page.expect_response("**/storybooth/photos?*") as looked:
        page.evaluate(look)
    looked.value.finished()
    wait_for_frames(page)
    page.keyboard.type(", asleep")
    wait_for_file(page, comfy.base / "input" / "my character" / "a.txt", "a blue sks ball, asleep\n")
    expect(page.locator(".storybooth-photos output")).to_have_text("The caption of a.png is kept.")
    field.blur()
    (comfy.base / "input" / "my character" / "a.txt").write_text("written elsewhere")
    page.evaluate(look)
    expect(field).to_have_value("written elsewhere")

    # Chosen, into a folder of another name; not into one that is none.
    target.fill("../secret")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Add photos…").click()
    files = [{"name": "c.png", "mimeType": "image/png", "buffer": story.photo(20)}]
    chosen.value.set_files(files)
    expect(page.locator(".storybooth-photos output")).to_contain_text('"../secret" is no name of a folder')
    target.fill("people/anna")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Add photos…").click()
    chosen.value.set_files(files)
    page.wait_for_function(f"{FOLDER} === 'people/anna'")
    expect(rows).to_have_count(1)
    assert (comfy.base / "input" / "people" / "anna" / "c.png").read_bytes() == story.photo(20)
    assert not (comfy.base / "secret").exists()
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output.load.inputs")
    assert prompt == {"folder": "people/anna", "default_caption": ""}

"""ComfyUI's "free memory" reaches what the pack keeps."""

from storybooth.tests.host.test_bank import changed, story


def test_what_is_kept_goes_when_comfyui_frees_memory(comfy):
    def writes(caption: str) -> bool:
        """Whether a story with this caption writes its bank; the caption makes ComfyUI run the nodes in any case."""
        inputs = {"seed": 4711, "steps": 2}
        nodes = changed(story(f"[id] a ball # {caption}\n[id] a ball at sea\na house"), writer=inputs, panels=inputs)
        return any(event.type == "progress" and event.data["node"] == "writer" for event in comfy.queue(nodes))

    assert writes("one")
    assert not writes("two"), "it is found again"
    comfy.free()
    assert writes("three")

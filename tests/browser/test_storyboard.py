"""The storyboard on its node and as a board, in the classic canvas and in Nodes 2.0."""

import pytest
from playwright.sync_api import expect

from storybooth.development.canvas import open_canvas, open_graph, undo_until, wait_for_canvas, wait_until_stored
from storybooth.tests.host import story

NODE = "app.rootGraph.getNodeById('storyboard')"
SCRIPT = f"{NODE}.widgets.find((widget) => widget.name === 'script').value"
PICTURES = """async () => Promise.all(app.rootGraph.getNodeById('storyboard').properties.storybooth_pictures.map(
    async ({ image }) => String(new Uint8Array(await (await fetch(
        `/view?${new URLSearchParams(image)}`)).arrayBuffer()))))"""
FIELDS = "[...document.querySelectorAll('.storybooth-open-card :is(input, textarea)')].map(({ value }) => value)"
WALKING, SITTING, HOUSE, SEA = story.SCRIPT.splitlines()

modes = pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])


def show(comfy, page, script, nodes2=False):
    story.upload_photos(comfy, "board")
    open_canvas(page, comfy.url, nodes2)
    load(page, script)


def load(page, script):
    graph = story.graph("board", "board")
    graph["storyboard"]["inputs"]["script"] = script
    open_graph(page, graph, "story")
    uncover(page)


def open_board(page):
    page.get_by_role("button", name="Open storyboard").click()
    expect(page.locator(".storybooth-card:focus")).to_have_count(1)


def write(page, script):
    """Change the script from outside of the board."""
    page.evaluate(
        f"(text) => {{ const w = {NODE}.widgets.find((w) => w.name === 'script'); w.value = text; w.callback(text); }}",
        script,
    )


def uncover(page):
    page.evaluate(f"{NODE}.pos = [-900, -900]; {NODE}.setSize([480, 700])")
    page.evaluate(f"app.canvas.ds.scale = 1; app.canvas.centerOnNode({NODE})")


def expect_script(page, *lines):
    page.wait_for_function(f"(text) => {SCRIPT} === text", arg="\n".join(lines))


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def run(page, act):
    """Do what queues the story, and wait for its end."""
    page.evaluate("""() => {
        window.finished = null;
        for (const end of ["execution_success", "execution_error"])
            app.api.addEventListener(end, () => { window.finished = end; }, { once: true });
    }""")
    act()
    page.wait_for_function("window.finished === 'execution_success'", timeout=600_000)


@modes
def test_a_story_is_drawn_edited_and_drawn_again_by_keyboard_alone(comfy, page, nodes2):
    show(comfy, page, story.SCRIPT, nodes2)
    row, cards = page.locator(".storybooth-story-row > button"), page.locator(".storybooth-cards > li")
    expect(row).to_have_count(4)
    page.get_by_role("button", name="Open storyboard").press("Enter")
    expect(cards).to_have_count(4)
    run(page, lambda: page.locator(".storybooth-board header button", has_text="Run").press("Enter"))
    expect(row.locator("img")).to_have_count(3)
    expect(cards.locator("img")).to_have_count(3)
    walked, housed, sailed = page.evaluate(PICTURES)

    # Typing, which reads the grammar as it comes, keystroke by keystroke, and is undone so.
    cards.first.locator(".storybooth-card").focus()
    press(page, "ArrowRight", "ArrowRight", "Enter")
    page.keyboard.type(", at night")
    expect_script(page, WALKING, SITTING, HOUSE + ", at night", SEA)
    expect(page.locator(".storybooth-card[aria-current] .storybooth-prompt")).to_have_text(
        "a house in a forest, at night"
    )
    expect(page.locator(".storybooth-note")).to_have_text("The line has changed since. Run draws it again.")
    page.keyboard.type(" # Noo")
    expect(page.locator("[data-part=caption]")).to_have_value("Noo")
    press(page, "Control+z", "n", "Escape")
    expect_script(page, WALKING, SITTING, HOUSE + ", at night # Non", SEA)
    press(page, "Alt+ArrowRight")
    expect_script(page, WALKING, SITTING, SEA, HOUSE + ", at night # Non")
    undo_until(page, f"{SCRIPT}.split('\\n')[2].endsWith('# Non')")
    expect_script(page, WALKING, SITTING, HOUSE + ", at night # Non", SEA)
    expect(page.locator(".storybooth-card:focus")).to_have_count(1)

    # Deleting, adding, flags, and what is said.
    press(page, "Home", "ArrowRight", "ArrowRight", "Delete")
    expect_script(page, WALKING, SITTING, SEA)
    page.get_by_role("button", name="Add panel").press("Enter")
    page.keyboard.type(" asleep <b>")
    page.get_by_role("button", name="no character").press("Enter")
    expect_script(page, WALKING, SITTING, SEA, "[NC] {subject} asleep <b>")
    page.get_by_role("button", name="no character").press("Enter")
    page.get_by_role("button", name="+ Thought").press("Enter")
    page.keyboard.type("Zzz")
    expect_script(page, WALKING, SITTING, SEA, "{subject} asleep <b> @me (thinks): Zzz")
    expect(cards.last.locator("q")).to_have_text("me: Zzz")
    press(page, "Escape", "Delete")
    expect_script(page, WALKING, SITTING, SEA)

    # Back to the first story: of the panels that are drawn again, one is another.
    write(page, story.SCRIPT)
    expect(page.locator(".storybooth-cards .storybooth-stale")).to_have_count(0)
    cards.nth(2).locator(".storybooth-card").click()
    run(page, lambda: page.get_by_role("button", name="Draw again", exact=True).press("Enter"))
    page.wait_for_function(f"/^\\[seed=\\d+\\] {HOUSE}$/.test({SCRIPT}.split('\\n')[2])")
    expect(page.locator(".storybooth-stale, .storybooth-waiting")).to_have_count(0)
    again = page.evaluate(PICTURES)
    assert (again[0], again[2]) == (walked, sailed)
    assert again[1] != housed
    cards.last.locator(".storybooth-card").click()
    page.get_by_role("button", name="Lock", exact=True).press("Enter")
    page.wait_for_function(
        f"/^\\[seed=\\d+\\] \\[plain\\]|^\\[plain\\] \\[seed=\\d+\\]/.test({SCRIPT}.split('\\n')[3])"
    )
    expect(page.locator(".storybooth-stale")).to_have_count(0)
    run(page, lambda: page.locator(".storybooth-board header button", has_text="Run").press("Enter"))
    assert page.evaluate(PICTURES) == again

    page.keyboard.press("Escape")
    expect(page.locator(".storybooth-board")).to_be_hidden()
    last = page.evaluate(f"{NODE}.properties.storybooth_pictures.at(-1).image.filename")
    wait_until_stored(page, last)
    page.reload()
    wait_for_canvas(page)
    expect(row.locator("img")).to_have_count(3)
    page.wait_for_function(
        "[...document.querySelectorAll('.storybooth-story-row img')].every((i) => i.naturalWidth === 64)"
    )


@pytest.mark.once
@modes
def test_the_mouse_opens_and_drags_cards_and_the_text_is_followed(comfy, page, nodes2):
    show(comfy, page, story.SCRIPT, nodes2)
    row, cards = page.locator(".storybooth-story-row > button"), page.locator(".storybooth-cards > li")
    field = page.wait_for_function(
        """(script) => [...document.querySelectorAll(".lg-node textarea, .comfy-multiline-input")].find(
            (each) => each.checkVisibility() && each.value === script)""",
        arg=story.SCRIPT,
    )
    field.as_element().press("Control+End")
    page.keyboard.type("\n[left=ball] <i>a dog</i>")
    expect(row).to_have_count(5)
    row.nth(2).click()
    prompt, caption = (page.locator(f"[data-part={part}]") for part in ("prompt", "caption"))
    expect(prompt).to_have_value(HOUSE)
    page.locator("[data-part=line]").fill(HOUSE + " # Home")
    expect(caption).to_have_value("Home")
    subject = page.locator(".storybooth-open-card").get_by_role("button", name="subject", exact=True)
    subject.click()
    expect(prompt).to_have_value("{subject}, " + HOUSE)
    subject.click()
    caption.fill("")
    expect(page.locator("[data-part=line]")).to_have_value(HOUSE)
    expect(cards.last.locator(".storybooth-flags")).to_have_text("left=ball")
    expect(cards.last.locator(".storybooth-prompt")).to_have_text("<i>a dog</i>")
    cards.last.drag_to(cards.first)
    expect_script(page, "[left=ball] <i>a dog</i>", *story.SCRIPT.splitlines())
    run_error = page.locator(".storybooth-refused .storybooth-card")
    page.locator(".storybooth-board header button", has_text="Run").click()
    expect(run_error).to_have_count(1)
    expect(page.locator(".storybooth-note")).to_contain_text("[left=ball]")
    page.get_by_role("button", name="Close (Escape)").click()
    expect(page.locator(".storybooth-board")).to_be_hidden()


@pytest.mark.once
def test_what_is_typed_key_by_key_comes_to_the_same_as_filled_in_at_once(canvas):
    page, line = canvas(), "{subject}, reading @owl (thinks): Gold # in a cafe"
    load(page, line)
    open_board(page)
    words, prompt = page.locator(".storybooth-speech textarea").first, page.locator("[data-part=prompt]")
    line_field = page.locator("[data-part=line]")
    for field, keys, typed, whole in [
        (words, ["Control+a"], "We are #1 in town!", "We are #1 in town!"),
        (words, ["Control+Home"], "#1: ", "#1: Gold"),
        (words, ["Control+End"], " @sound: CRASH", "Gold @sound: CRASH"),
        (words, ["Control+End"], " #", "Gold #"),
        (words, ["Control+End"], " # at once", "Gold # at once"),
        (prompt, ["Control+End"], " # now", "{subject}, reading # now"),
        (prompt, ["Control+End", "ArrowLeft", "ArrowLeft"], " #2 @me: Oh", "{subject}, readi #2 @me: Ohng"),
        (prompt, ["Control+Home"], "[hidden] #3 and ", "[hidden] #3 and {subject}, reading"),
        (line_field, ["Control+End"], " # x #1", line + " # x #1"),
    ]:
        write(page, line)
        field.fill(whole)
        page.keyboard.press("Escape")
        filled, parts = page.evaluate(SCRIPT), page.evaluate(FIELDS)
        write(page, line)
        field.click()
        press(page, *keys)
        page.keyboard.type(typed)
        expect(field).to_be_focused()
        expect(field).to_have_value(whole)
        assert page.evaluate(SCRIPT) == filled
        page.keyboard.press("Escape")
        assert (page.evaluate(SCRIPT), page.evaluate(FIELDS)) == (filled, parts)
    write(page, line)
    words.click()
    press(page, "Control+a")
    page.keyboard.type("We are #1 in town!")
    expect_script(page, "{subject}, reading @owl (thinks): We are #1 in town! # in a cafe")
    press(page, "Escape", "Escape")
    expect(page.locator(".storybooth-board")).to_be_hidden()


@pytest.mark.once
def test_the_keyboard_keeps_its_place_in_the_open_card(canvas):
    page, line = canvas(), "{owl}, {cat} at sea @owl: Hi @cat: Ho # x"
    load(page, f"{line}\na house")
    open_board(page)

    def focus(name, nth=0):
        page.locator(".storybooth-open-card").get_by_role("button", name=name, exact=True).nth(nth).focus()

    def after(*keys):
        """What has the focus after these keys, and the script's first line."""
        press(page, *keys)
        page.wait_for_function(
            "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(true))))"
        )
        return page.evaluate(f"[document.activeElement.textContent, {SCRIPT}.split('\\n')[0]]")

    for flag, written in {"identity": "id", "hidden": "hidden", "plain": "plain", "no character": "NC"}.items():
        focus(flag)
        assert after("Space") == [flag, f"[{written}] {line}"]
        assert after("Enter") == [flag, line]
    write(page, f"[seed=7] [left=ball] {line}")
    focus("Unlock")
    assert after("Space") == ["Draw again", f"[left=ball] {line}"]  # without a picture there is nothing to lock
    write(page, line)
    focus("cat")
    assert after("Space") == ["owl", "{owl}, at sea @owl: Hi @cat: Ho # x"]  # nobody speaks of the cat any more
    write(page, line + "\n{cat}, {owl}\na house")
    focus("cat")
    assert after("Space") == ["cat", "{owl}, at sea @owl: Hi @cat: Ho # x"]
    assert after("Space") == ["cat", "{cat}, {owl}, at sea @owl: Hi @cat: Ho # x"]
    focus("Take this out", 1)
    assert after("Space") == ["+ Speech", "{cat}, {owl}, at sea @owl: Hi # x"]
    write(page, f"{line}\na house")
    page.locator(".storybooth-count").click()  # where nothing can be clicked
    page.evaluate("window.heard = 0; document.body.addEventListener('keydown', () => window.heard++)")
    press(page, "Delete")
    assert page.evaluate("window.heard") == 0  # no key leaves the board, for the canvas to take
    focus("Delete")
    assert after("Space")[1] == "a house"
    expect(page.locator(".storybooth-card:focus")).to_have_count(1)
    press(page, "Escape")
    expect(page.locator(".storybooth-board")).to_be_hidden()


@pytest.mark.once
@modes
def test_run_leaves_the_cards_and_closing_the_board_goes_back_to_the_node(comfy, canvas, nodes2):
    story.upload_photos(comfy, "board")
    page, active = canvas(nodes2), "document.activeElement.textContent"
    load(page, "a house\n[left=ball] a dog")
    open_board(page)
    card = page.evaluate(active)
    press(page, "Control+Enter")
    assert page.evaluate(active) == card
    expect(page.locator(".storybooth-refused .storybooth-card")).to_have_count(1)  # so it has run
    press(page, "Alt+ArrowRight")
    expect_script(page, "[left=ball] a dog", "a house")
    undo_until(page, f"{SCRIPT} .startsWith('a house')")
    press(page, "Escape")
    page.wait_for_function(f"{active} === 'Open storyboard'")
    row = page.locator(".storybooth-story-row > button")
    row.last.focus()
    write(page, "a house\na cat")
    assert page.evaluate(active) == "2a cat"


@pytest.mark.once
def test_fields_are_bright_in_a_light_theme_and_dark_in_a_dark_one(canvas):
    page = canvas()
    load(page, "a house")
    open_board(page)
    ground = """getComputedStyle(document.querySelector("[data-part=prompt]")).backgroundColor.match(/\\d+/g)"""
    try:
        for theme, fits in {"light": "> 225", "dark": "< 60"}.items():
            page.evaluate("(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)", theme)
            page.wait_for_function(f"{ground}.every((part) => Number(part) {fits})", timeout=30_000)
    finally:
        page.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")
    press(page, "Escape")
    expect(page.locator(".storybooth-board")).to_be_hidden()


@pytest.mark.once
@pytest.mark.parametrize(
    "remembered", ["none", [None, 7, {}, {"image": {"filename": "<img src=x>"}, "written": WALKING}]]
)
def test_whatever_a_workflow_from_elsewhere_remembers_loads(comfy, page, remembered):
    show(comfy, page, story.SCRIPT)
    page.evaluate(
        """(remembered) => {
            const workflow = app.rootGraph.serialize();
            for (const node of workflow.nodes) node.properties.storybooth_pictures = remembered;
            return app.loadGraphData(workflow);
        }""",
        remembered,
    )
    expect(page.locator(".storybooth-story-row > button")).to_have_count(4)
    expect(page.locator("img[src='x']")).to_have_count(0)


@pytest.mark.once
def test_the_canvas_speaks_the_language_that_it_is_set_to(comfy, page):
    """Korean: the node, the board and what they say; keys and the script stay what they are."""
    page.request.post(f"{comfy.url}/settings", data={"Comfy.Locale": "ko"})
    try:
        show(comfy, page, story.SCRIPT)
        page.wait_for_function(f"{NODE}.title === '스토리보드'")
        page.get_by_role("button", name="스토리보드 열기").press("Enter")
        cards = page.locator(".storybooth-cards > li")
        expect(cards).to_have_count(4)
        expect(page.locator(".storybooth-count")).to_have_text("페이지에 3컷, 숨김 1컷")
        cards.nth(2).locator(".storybooth-card").click()
        page.keyboard.press("Delete")
        expect_script(page, WALKING, SITTING, SEA)
    finally:
        page.request.post(f"{comfy.url}/settings", data={"Comfy.Locale": "en"})

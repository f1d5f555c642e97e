/* The board: a dialog with the story's cards, one of which is open. Every change goes into the script at once. */

import { button, element } from "./shared.js";
import { charactersIn, insertLine, removeLine, setFlag } from "./script_lines.js";
import { face, faceKey, nameOf } from "./story_pictures.js";
import { OpenCard } from "./storyboard_card.js";
import { say } from "./words.js";

const NEW = "{subject}"; // what a new line says: a blank one would be no panel
const PATIENCE = 2000; // milliseconds for undo to put a node back that it took away
const HINT = say("Arrow keys walk along the cards, Alt and arrow keys move one, Enter edits it, Delete takes it out.");

export class Board {
  constructor() {
    this.story = null;
    this.line = 0; // of the script; that of the card which is open
    this.dialog = element("dialog", "storybooth-board");
    this.dialog.setAttribute("aria-label", say("Storyboard"));
    this.dialog.tabIndex = -1; // a click beside all buttons leaves the focus in it, so that no key reaches the canvas
    this.count = element("span", "storybooth-count");
    this.status = element("output");
    this.list = element("ol", "storybooth-cards");
    this.list.setAttribute("aria-description", HINT);
    this.empty = element("p", "", say("The story is empty. Add a panel, and write what it shows."));
    this.card = new OpenCard(this);
    const head = element("header");
    const add = button(say("Add panel"), say("A panel behind the one that is open"), () => this.add());
    const run = button(say("Run"), say("Draw what has changed"), () => this.story.run());
    run.className = "storybooth-primary";
    const close = button("✕", say("Close (Escape)"), () => this.dialog.close());
    head.append(element("h2", "", say("Storyboard")), this.count, this.status, add, run, close);
    const main = element("main");
    const side = element("div", "storybooth-side");
    side.append(this.empty, this.list);
    main.append(side, this.card.box);
    this.dialog.append(head, main);
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("pointerdown", (event) => event.target === this.dialog && this.dialog.close()); // beside it
    this.list.addEventListener("click", (event) => this.click(event));
    this.takeDrags();
    document.body.append(this.dialog);
  }

  open(story, line) {
    this.story = story;
    this.graph = story.node.graph;
    this.line = line;
    if (!this.dialog.open) this.dialog.showModal();
    this.line = this.here()?.line ?? line;
    this.render();
    this.focusCard();
  }

  closed() {
    const { button } = this.story;
    this.story = null;
    const { activeElement, body } = document;
    if (activeElement === body || this.dialog.contains(activeElement)) button.focus(); // what had it before is gone: undo makes nodes anew
  }

  /** Whether it shows the story of this node, or of the one that undo makes it anew from. */
  shows(node) {
    const shown = this.story?.node;
    return shown && shown !== node && shown.id === node.id && this.graph.id === node.graph?.id;
  }

  /** Close when the node has gone for good. */
  leaveSoon(node) {
    setTimeout(() => this.story?.node === node && this.dialog.close(), PATIENCE);
  }

  /** The panel that is open; the nearest where its line is gone. */
  here() {
    const panels = this.story.panels(this.line);
    return panels.find(({ line }) => line >= this.line) ?? panels.at(-1);
  }

  render(force = false) {
    const focused = this.list.contains(document.activeElement);
    const panels = this.story.panels(this.line);
    const open = panels.find(({ line }) => line >= this.line) ?? panels.at(-1);
    this.line = open?.line ?? 0;
    const shown = panels.filter(({ hidden }) => !hidden).length;
    const hidden = panels.length - shown;
    this.count.textContent = hidden ? say("{shown} on the page, {hidden} hidden", { shown, hidden }) : say("{shown} on the page", { shown });
    this.status.textContent = this.story.status;
    this.empty.hidden = panels.length > 0;
    while (this.list.children.length > panels.length) this.list.lastChild.remove();
    panels.forEach((panel, index) => {
      const item = this.list.children[index] ?? this.list.appendChild(element("li"));
      const key = JSON.stringify([panel.text, faceKey(panel), panel.stale, panel.waiting, panel.refused, panel.number]);
      if (item.dataset.key !== key) fill(item, panel);
      item.dataset.key = key;
      item.dataset.line = panel.line;
      item.draggable = true;
      item.classList.toggle("storybooth-open", panel === open);
      item.firstChild.tabIndex = panel === open ? 0 : -1;
      if (panel === open) item.firstChild.setAttribute("aria-current", "true");
      else item.firstChild.removeAttribute("aria-current");
    });
    this.card.show(open, force);
    if (focused && !this.list.contains(document.activeElement)) this.focusCard(); // its card was made anew
  }

  item() {
    return this.list.querySelector(`[data-line="${this.line}"]`);
  }

  focusCard() {
    this.item()?.firstChild.focus({ preventScroll: true });
    this.item()?.scrollIntoView({ block: "nearest" });
  }

  select(line) {
    this.line = line;
    this.render(true);
    this.focusCard();
  }

  /** Change the open line. `undoable`: as a step of the canvas's undo; typing is one when the field is left. */
  write(text, undoable = true) {
    this.story.edit(({ texts }) => (texts[this.line] = text), undoable);
  }

  add(text = NEW, edit = true) {
    const at = this.here() ? this.line + 1 : 0;
    this.story.edit((lines) => {
      if (lines.texts.length === 1 && !lines.texts[0]) lines.texts[0] = text;
      else insertLine(lines, at, text);
      this.line = at;
    });
    this.select(this.line);
    if (edit) this.card.focus();
  }

  duplicate() {
    this.add(this.story.panels(this.line).find(({ line }) => line === this.line).text, false);
  }

  remove() {
    this.story.edit((lines) => removeLine(lines, this.line));
    this.select(this.here()?.line ?? 0);
  }

  /** Put the open card before (-1) or behind (1) its neighbour. */
  step(by) {
    const panels = this.story.panels(this.line);
    const other = panels[panels.findIndex(({ line }) => line === this.line) + by];
    if (other) this.move(this.line, other.line);
  }

  /** Move a line so that it stands where another one is. */
  move(from, to) {
    this.story.edit(({ texts }) => {
      texts.splice(to, 0, ...texts.splice(from, 1));
      this.line = to;
    });
    this.select(to);
  }

  drawAgain(line = this.line) {
    const { text } = this.story.panels(line).find((panel) => panel.line === line);
    const seed = String(crypto.getRandomValues(new Uint32Array(1))[0]);
    this.story.edit(({ texts }) => (texts[line] = setFlag(text, "seed", true, seed)));
    this.story.run(line);
  }

  /** Pin the seed that a picture was drawn from, or let go of the line's own. */
  lock(line = this.line) {
    const panel = this.story.panels(line).find((each) => each.line === line);
    const has = panel.parts.flags.some(({ name }) => name === "seed");
    const text = setFlag(panel.text, "seed", !has, has ? null : panel.picture.seed);
    if (!has && !panel.stale) panel.picture.locked = text; // it is still the picture of this line
    this.story.edit(({ texts }) => (texts[line] = text));
  }

  click({ target }) {
    const item = target.closest("li");
    if (!item) return;
    const line = Number(item.dataset.line);
    if (target.closest(".storybooth-again")) this.drawAgain(line);
    else if (target.closest(".storybooth-lock")) this.lock(line);
    else this.select(line);
  }

  key(event) {
    const { key, target, altKey, ctrlKey, metaKey } = event;
    if (!((ctrlKey || metaKey) && key === "Enter")) event.stopPropagation(); // no shortcut of the canvas, but for Run
    const inField = target.matches("input, textarea, select");
    if (key === "Escape" && (inField || this.card.box.contains(target))) {
      event.preventDefault();
      return this.focusCard();
    }
    if (ctrlKey || metaKey || inField || !this.list.contains(target)) return;
    const items = [...this.list.children];
    const at = items.indexOf(target.closest("li"));
    const across = items.findIndex((item) => item.offsetTop > items[0].offsetTop);
    const row = across < 0 ? items.length : across;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -at, End: items.length - 1 - at }[key];
    const act = key === "Enter" ? () => this.card.focus() : key === "Delete" ? () => this.remove() : undefined;
    if (by === undefined && !act) return;
    event.preventDefault();
    if (act) act();
    else if (items[at + by] && altKey) this.move(this.line, Number(items[at + by].dataset.line));
    else if (items[at + by]) this.select(Number(items[at + by].dataset.line));
  }

  /** A card can be dragged to where another one is. */
  takeDrags() {
    const over = ({ target }) => target.closest?.(".storybooth-cards > li");
    let dragged = null;
    const mark = (item) => {
      for (const each of this.list.children) each.classList.toggle("storybooth-drop", each === item && each !== dragged);
    };
    this.list.addEventListener("dragstart", (event) => {
      dragged = over(event);
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", ""); // Firefox drags nothing without
    });
    this.list.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      mark(over(event));
    });
    this.list.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation(); // the canvas takes what is dropped for a file
      const item = over(event);
      if (dragged && item && item !== dragged) this.move(Number(dragged.dataset.line), Number(item.dataset.line));
    });
    this.list.addEventListener("dragend", () => {
      mark(null);
      dragged = null;
    });
  }
}

/** A card: its picture, what it says, and two buttons for the mouse, which the open card has for the keyboard. */
function fill(item, panel) {
  const { parts, picture, number, stale, waiting, refused } = panel;
  const open = element("button", "storybooth-card");
  open.type = "button";
  open.setAttribute("aria-label", [nameOf(panel), parts.prompt.text, refused].filter(Boolean).join(": "));
  const picked = face(panel, "storybooth-face");
  const flags = element("span", "storybooth-flags");
  flags.append(...parts.flags.map((flag) => element("i", "", flag.text.slice(1, -1))));
  flags.append(...charactersIn(parts.prompt.text).map((name) => element("i", "storybooth-who", name)));
  open.append(element("b", "", number || "–"), picked, flags, element("span", "storybooth-prompt", parts.prompt.text));
  for (const { speaker, words } of parts.speech) open.append(element("q", "", `${speaker}: ${words.text}`));
  if (parts.caption?.text) open.append(element("em", "", parts.caption.text));
  item.className = [stale && "storybooth-stale", waiting && "storybooth-waiting", refused && "storybooth-refused"].filter(Boolean).join(" ");
  const tools = element("span", "storybooth-tools");
  const locked = parts.flags.some(({ name }) => name === "seed");
  const again = button("", say("Draw again, with another seed"), () => {});
  const lock = button("", locked ? say("Let go of the seed") : say("Keep the seed of this picture"), () => {});
  again.append(element("span", "pi pi-refresh")); // PrimeIcons, which ComfyUI loads
  lock.append(element("span", locked ? "pi pi-lock" : "pi pi-lock-open"));
  lock.disabled = !locked && !picture?.seed;
  again.classList.add("storybooth-again");
  lock.classList.add("storybooth-lock");
  tools.append(again, lock);
  for (const each of tools.children) each.tabIndex = -1;
  item.replaceChildren(open, tools);
}

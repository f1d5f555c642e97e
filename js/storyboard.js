/* The story as pictures on the Storyboard's node; a click opens the board, where it is edited. The script widget's text is
 * the story: nothing else is kept but where its pictures are. */

import { app } from "../../scripts/app.js";
import { addBox, allNodes, change, element, freeWidget, loadStyle, nodeOf, onConfigured, onSeen } from "./shared.js";
import { charactersIn, isOne, joinLines, readLine, splitLines } from "./script_lines.js";
import { face, faceKey, holdSeeds, listen, matchPictures, nameOf } from "./story_pictures.js";
import { Board } from "./storyboard_board.js";
import { say } from "./words.js";

const NODE = "StoryBoothStoryboard";
const PROPERTY = "storybooth_pictures"; // of the node: [{line, written, seed, image, prompt_id}]; `locked`, too: the line with that seed
const MIN_HEIGHT = 112; // pixels: one row, which scrolls
const MAX_HEIGHT = 150; // what more the node has is for the text
const MARGIN = 8; // pixels around it
const MOST_CHARACTERS = 30; // of a cast: a script may have anything in braces
const MOST = 1000; // pictures: a workflow from elsewhere may claim any number

const REMEMBERED = 2000; // lines: at every key all of a story are read

const stories = new WeakMap();
const lines = new Map(); // text to its parts
let board; // the one dialog, made when it is first opened

class Story {
  constructor(node) {
    this.node = node;
    this.waiting = new Set(); // lines that are being drawn again
    this.refused = null; // {line, text, message}: the line that the server did not understand
    this.before = []; // pictures of the run before the one at hand
    this.status = "";
    this.button = element("button", "", say("Open storyboard"));
    this.count = element("span");
    this.row = element("div", "storybooth-story-row");
    this.row.setAttribute("role", "toolbar");
    this.row.setAttribute("aria-label", say("Panels of the story"));
    const box = element("div", "storybooth-story");
    const head = element("header");
    head.append(this.button, this.count);
    box.append(head, this.row);
    this.button.type = "button";
    this.button.addEventListener("click", () => this.open(0));
    this.row.addEventListener("click", ({ target }) => this.open(Number(target.closest("button")?.dataset.line)));
    this.row.addEventListener("keydown", (event) => walk(event, this.row));
    addBox(node, PROPERTY, "STORYBOOTH_STORY", box, MIN_HEIGHT, MARGIN, MAX_HEIGHT);
    const widget = node.widgets.find((each) => each.name === "script");
    const told = widget.callback;
    widget.callback = (...given) => {
      told?.apply(widget, given);
      this.render();
    };
    onSeen(box, () => this.render());
    this.render();
  }

  get free() {
    return Boolean(freeWidget(this.node, "script"));
  }

  get script() {
    return String(freeWidget(this.node, "script")?.value ?? "");
  }

  /** Change the script's lines by `apply`: at once, or (`undoable`) as one step of the canvas's undo. */
  edit(apply, undoable = true) {
    const lines = splitLines(this.script);
    apply(lines);
    const widget = freeWidget(this.node, "script");
    const write = () => {
      widget.value = joinLines(lines);
      widget.callback?.(widget.value);
      if (!this.node.widgets.includes(widget)) this.render(); // it is outside of the subgraph
    };
    if (undoable) change(write);
    else write();
  }

  /** The lines that are panels, and the one that is `open`, which may be blank for a while. */
  panels(open = -1) {
    const panels = splitLines(this.script).texts.map((text, line) => ({ line, text, parts: read(text) }));
    const story = panels.filter(({ line, parts }) => line === open || !parts.blank);
    let number = 0;
    for (const panel of story) {
      panel.hidden = panel.parts.flags.some(({ name }) => name === "hidden");
      panel.number = panel.hidden ? "" : `${++number}`;
      panel.waiting = this.waiting.has(panel.text);
      panel.refused = this.refused?.line === panel.line && this.refused.text === panel.text ? this.refused.message : "";
    }
    for (const panel of identitiesOf(story)) panel.identity = true;
    matchPictures(story.filter(({ hidden, parts }) => !hidden && !parts.blank), this.pictures());
    return story;
  }

  /** Who a line can show: the cast that is wired in, else the subject, and whom other lines name. */
  characters() {
    const names = castOf(this.node);
    if (!names.length) names.push("subject");
    for (const name of charactersIn(this.script)) if (!names.some((other) => isOne(name, other))) names.push(name);
    return names.slice(0, MOST_CHARACTERS);
  }

  /** What the node's property says, or as much of it as can be shown. */
  pictures() {
    const held = this.node.properties[PROPERTY];
    const usable = Array.isArray(held) ? held.filter((picture) => picture?.image && picture.written) : [];
    return usable.slice(0, MOST).sort((one, other) => one.line - other.line);
  }

  begin() {
    this.before = this.pictures();
    this.fresh = [];
  }

  add(picture) {
    this.fresh = [...(this.fresh ?? []), picture];
    const { fresh } = this;
    const older = this.before.filter((old) => !fresh.some(({ line, written }) => line === old.line || written === old.written));
    this.node.properties[PROPERTY] = [...fresh, ...older];
    this.waiting.delete(picture.written);
    this.say(say("Line {line} is drawn.", { line: picture.line }));
  }

  finish(pictures) {
    change(() => (this.node.properties[PROPERTY] = pictures));
    this.waiting.clear();
    this.render();
  }

  /** A run has ended: nothing is waited for. */
  end(status) {
    this.waiting.clear();
    this.say(status);
  }

  refuse(line, message) {
    this.refused = { line, text: splitLines(this.script).texts[line], message };
    this.render();
  }

  say(status) {
    this.status = status;
    this.render();
  }

  /** Queue the story. With `line`, that panel alone is drawn: the seeds of all others are held. */
  async run(line) {
    let told = "";
    if (line !== undefined) {
      this.waiting.add(splitLines(this.script).texts[line]);
      const [picture] = this.pictures();
      if (picture) told = await holdSeeds(picture.prompt_id);
    }
    this.say(told);
    await app.queuePrompt(0, 1);
    if (this.status === told) this.say(say("Queued. {told}", { told })); // else it has begun, or ended, by now
  }

  open(line) {
    if (!this.free || Number.isNaN(line)) return;
    board ??= new Board();
    board.open(this, line);
  }

  render() {
    const panels = this.panels();
    this.button.disabled = !this.free;
    this.button.title = this.free ? "" : say("The script comes through a wire: edit it where it comes from.");
    this.count.textContent = panels.length === 1 ? say("1 panel") : say("{count} panels", { count: panels.length });
    const held = [...this.row.children].indexOf(document.activeElement);
    while (this.row.children.length > panels.length) this.row.lastChild.remove();
    panels.forEach((panel, index) => {
      const key = [faceKey(panel), panel.stale, panel.text].join("\n");
      let made = this.row.children[index];
      if (made?.dataset.key !== key) {
        const fresh = small(panel);
        if (made) made.replaceWith(fresh);
        else this.row.append(fresh);
        made = fresh;
        made.dataset.key = key;
      }
      made.dataset.line = panel.line;
      made.firstChild.textContent = panel.number;
      made.setAttribute("aria-label", `${nameOf(panel)}: ${panel.parts.prompt.text}`);
    });
    const current = this.row.querySelector("[tabindex='0']") ?? this.row.firstChild;
    for (const each of this.row.children) each.tabIndex = each === current ? 0 : -1;
    if (held >= 0 && !this.row.contains(document.activeElement)) (this.row.children[held] ?? this.button).focus(); // made anew
    if (board?.story === this) board.render();
  }
}

/** The stories of the workflow. */
function all() {
  return allNodes()
    .map((node) => stories.get(node))
    .filter(Boolean);
}

/** The parts of a line, read once. */
function read(text) {
  if (!lines.has(text)) {
    if (lines.size >= REMEMBERED) lines.clear();
    lines.set(text, readLine(text));
  }
  return lines.get(text);
}

/** The panels that all others take their character from: those with [id], else the first that show it. */
function identitiesOf(story) {
  const has = ({ parts }, ...names) => parts.flags.some(({ name }) => names.includes(name));
  const told = story.filter((panel) => has(panel, "id"));
  if (told.length) return told;
  return story.filter((panel) => !has(panel, "plain", "nc") && charactersIn(panel.parts.prompt.text).length).slice(0, 2);
}

/** The names of the Character nodes that are wired to a node, one through the other. */
function castOf(node) {
  const names = [];
  for (let each = node; each && names.length < MOST_CHARACTERS; ) {
    const slot = each.findInputSlot("cast");
    each = slot < 0 ? null : each.getInputNode(slot);
    const name = each && freeWidget(each, "name")?.value;
    if (typeof name === "string" && name.trim()) names.unshift(name.trim());
    else if (each) break;
  }
  return names;
}

/** A panel in the node's row: its picture, or the beginning of its prompt. */
function small(panel) {
  const button = element("button", panel.stale ? "storybooth-stale" : "");
  button.type = "button";
  button.title = panel.parts.caption?.text || panel.parts.prompt.text;
  const body = panel.picture ? face(panel, "") : element("span", "", panel.parts.prompt.text);
  button.append(element("b"), body);
  return button;
}

/** Left, right, Home and End among the children of an element, one of which can be reached with Tab. */
function walk(event, row) {
  const all = [...row.children];
  const at = all.indexOf(document.activeElement);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined || !all[to]) return;
  event.preventDefault();
  event.stopPropagation();
  for (const each of all) each.tabIndex = each === all[to] ? 0 : -1;
  all[to].focus();
}

app.registerExtension({
  name: "storybooth.storyboard",

  setup() {
    loadStyle("storyboard.css");
    listen((id) => stories.get(nodeOf(id)), all);
  },

  afterConfigureGraph() {
    for (const story of all()) story.render(); // what stands outside of a subgraph is filled in last
  },

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const story = new Story(node);
    stories.set(node, story);
    onConfigured(node, () => {
      if (board?.shows(node)) board.story = story; // undo made the node anew
      story.render();
    });
    const { onRemoved, onConnectionsChange } = node;
    node.onRemoved = function (...given) {
      onRemoved?.apply(this, given);
      board?.leaveSoon(node);
    };
    node.onConnectionsChange = function (...given) {
      onConnectionsChange?.apply(this, given);
      story.render();
    };
  },
});

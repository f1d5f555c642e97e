/* A training as it runs, on the trainer's node: loss curve, step, time left, samples, and the button that stops and keeps. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addBox, change, element, freeWidget, loadStyle, nodeOf, onConfigured, PROGRESS_TEXT, setChildren, thumbnail, viewUrl } from "./shared.js";
import { sayLines } from "./status_lines.js";
import { say } from "./words.js";

const NODE = "StoryBoothLoraTrainer";
const PROPERTY = "storybooth_training"; // of the node: the server's last message; what a saved workflow remembers
const MIN_HEIGHT = 150; // pixels; the curve takes whatever more the node has
const MARGIN = 8; // pixels around it
const SVG = "http://www.w3.org/2000/svg";
const EMPTY = say("The loss curve appears here while the LoRA is trained.");
const GONE = say("ComfyUI keeps these pictures until it restarts. Run the trainer again to see the report.");

const views = new WeakMap();
let live; // the view of the training that runs now
let heard = 0; // messages so far: an answer that was asked for before the latest tells of an earlier moment

/** The view of one node. The server sends its whole state each time, so nothing depends on an earlier message. */
class TrainingView {
  constructor(node) {
    this.node = node;
    this.stopping = false;
    this.text = "";
    this.hint = element("p");
    this.title = element("strong");
    this.button = element("button");
    this.button.type = "button";
    this.button.title = say("End the training after this step and go on with what was learned. Steps is set to that step.");
    this.button.addEventListener("click", () => this.stop());
    this.figure = element("figure");
    this.numbers = element("footer");
    this.note = element("p");
    this.pictures = element("div", "storybooth-training-pictures");
    this.box = element("div", "storybooth-training");
    const head = element("header");
    head.append(this.title, this.button);
    this.box.append(this.hint, head, this.figure, this.numbers, this.note, this.pictures);
    addBox(node, PROPERTY, "STORYBOOTH_TRAINING_VIEW", this.box, MIN_HEIGHT, MARGIN);
    this.takeTexts();
    this.render();
  }

  /** Have progress texts written here: ComfyUI would add a widget for them, which repeats what the view shows. */
  takeTexts() {
    const nothing = () => 0;
    const options = { serialize: false, hideInPanel: true, getMinHeight: nothing, getMaxHeight: nothing };
    options.setValue = (text) => this.say(text);
    const widget = this.node.addDOMWidget(PROGRESS_TEXT, "STORYBOOTH_PROGRESS_TEXT", element("span"), options);
    widget.serialize = false;
    widget.hidden = true;
  }

  /** Show a text, such as which photo is being encoded, until the training begins. */
  say(text) {
    if (live === this) return;
    this.text = sayLines(text);
    this.render();
  }

  get state() {
    return this.node.properties[PROPERTY];
  }

  /** Whether a message is for this node, and not for one of the same id in another workflow that is open now. */
  concerns({ prompt_id, lora_name }) {
    const name = freeWidget(this.node, "lora_name");
    return !name || name.value === lora_name || this.state?.prompt_id === prompt_id;
  }

  show({ running, ...state }) {
    if (!this.concerns(state)) return;
    if (running) live = this;
    else if (live === this) live = undefined;
    this.stopping &&= running;
    this.text = "";
    this.node.properties[PROPERTY] = state;
    this.render();
  }

  /** The end of a run. After Stop and keep, the node asks for as many steps as were done: nothing is trained again. */
  finish(state) {
    if (!this.concerns(state)) return;
    const steps = freeWidget(this.node, "steps");
    change(() => {
      this.show({ ...state, running: false });
      if (steps?.value === state.steps) steps.value = state.curve.step;
    });
  }

  async stop() {
    this.stopping = true;
    this.render();
    const { prompt_id, node } = this.state;
    const body = JSON.stringify({ prompt_id, node });
    const headers = { "Content-Type": "application/json" };
    const answer = await api.fetchApi("/storybooth/training/stop", { method: "POST", headers, body });
    if (!answer.ok && this.state.prompt_id === prompt_id) this.show({ ...this.state, running: false }); // it has ended by itself
  }

  render() {
    const { state, text } = this;
    const running = live === this;
    const told = Boolean(state) && !text;
    this.hint.textContent = text || EMPTY;
    this.hint.hidden = told;
    for (const part of this.box.children) if (part !== this.hint) part.hidden = !told;
    if (!told) return;
    this.title.textContent = progress(state, running);
    this.button.hidden = !running;
    this.button.disabled = this.stopping;
    this.button.textContent = this.stopping ? say("Stopping…") : say("Stop and keep");
    this.figure.replaceChildren(...curve(state));
    this.numbers.textContent = numbers(state);
    this.note.textContent = state.note;
    this.note.hidden = !state.note;
    this.pictures.hidden = !state.pictures?.length;
    this.renderPictures(state.pictures ?? []);
  }

  /** Samples and report. A picture keeps its element, so that nothing flickers; a new one is scrolled to. */
  renderPictures(pictures) {
    const shown = [...this.pictures.children];
    const wanted = pictures.map(({ label, image }) => {
      const url = viewUrl(image);
      const made = shown.find((each) => each.dataset.url === url) ?? thumbnail(label, url, GONE);
      made.dataset.url = url;
      return made;
    });
    if (wanted.length === shown.length && wanted.every((each, index) => each === shown[index])) return;
    setChildren(this.pictures, wanted);
    this.pictures.scrollLeft = this.pictures.scrollWidth;
  }
}

function progress({ curve, steps, left }, running) {
  const done = curve?.step ?? 0;
  if (running && left) return say("Step {done} of {steps}, {left} left", { done, steps, left });
  if (running) return say("Step {done} of {steps}", { done, steps });
  if (done < steps) return say("Stopped after step {done} of {steps}", { done, steps });
  return say("{done} steps done", { done });
}

function numbers({ curve, rate, memory }) {
  if (!curve) return say("The first step is on its way.");
  const gigabytes = (bytes) => (bytes / 2 ** 30).toFixed(1);
  const [loss, smoothed] = [curve.loss.toPrecision(3), curve.smoothed.toPrecision(3)];
  const parts = [say("loss {loss}, smoothed {smoothed}", { loss, smoothed })];
  if (rate) parts.push(say("learning rate {rate}", { rate: Number(rate.toPrecision(3)) }));
  const [used, all] = (memory ?? []).map(gigabytes);
  if (memory) parts.push(say("memory {used} of {all} GB", { used, all }));
  return parts.join(" · ");
}

/** The loss of every step as a faint line, the smoothed loss as a strong one, over all steps of the run. */
function curve({ curve, steps }) {
  const { top = 1, raw = [], smooth = [], step, smoothed } = curve ?? {};
  const svg = document.createElementNS(SVG, "svg");
  const now = smoothed?.toPrecision(2);
  const label = curve ? say("Loss over {step} of {steps} steps, now about {now}", { step, steps, now }) : say("No loss yet");
  const attributes = { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  for (const points of [raw, smooth]) {
    const line = document.createElementNS(SVG, "polyline");
    const places = points.map(([at, loss]) => `${(100 * (at - 1)) / Math.max(1, steps - 1)},${100 - (100 * loss) / top}`);
    line.setAttribute("points", places.join(" "));
    svg.append(line);
  }
  return [svg, ...[top.toPrecision(2), "0", `${steps}`].map((text) => element("span", "", text))];
}

const viewOf = (id) => views.get(nodeOf(id));

/** Ask for the state of the run at hand. */
async function ask() {
  const before = heard;
  const client = api.clientId ?? api.initialClientId ?? "";
  const answer = await api.fetchApi(`/storybooth/training?${new URLSearchParams({ client_id: client })}`);
  const state = answer.ok ? await answer.json() : null;
  if (state && heard === before) viewOf(state.node)?.show(state);
}

app.registerExtension({
  name: "storybooth.training_view",

  setup() {
    loadStyle("training_view.css");
    api.addEventListener("storybooth.training", ({ detail }) => {
      heard++;
      viewOf(detail.node)?.show(detail);
    });
    api.addEventListener("executed", ({ detail }) => {
      const [state] = detail.output?.[PROPERTY] ?? [];
      if (!state) return;
      heard++;
      viewOf(detail.display_node ?? detail.node)?.finish(state);
    });
    // The server is gone, perhaps for good: nothing to stop until it sends again.
    api.addEventListener("reconnecting", () => live?.show({ ...live.state, running: false }));
  },

  /** After a reload the next message may be a long step away. The canvas waits for extensions, but not for this answer. */
  afterConfigureGraph() {
    ask().catch(() => {}); // a server that does not answer now tells the rest by messages
  },

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const view = new TrainingView(node);
    views.set(node, view);
    onConfigured(node, () => view.render());
  },
});

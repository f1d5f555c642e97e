/* The panels of a story on the Story Panel Sampler's node: they appear as they finish and stay when the page is reloaded. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addBox, change, element, loadStyle, nodeOf, onConfigured, removePreview, setChildren, thumbnail, viewUrl } from "./shared.js";
import { say } from "./words.js";

const NODE = "StoryBoothPanelSampler";
const PROPERTY = "storybooth_panels"; // of the node: {total, panels}; what a saved workflow remembers
const MIN_HEIGHT = 150; // pixels; the strip takes whatever more the node has, and scrolls
const MARGIN = 8; // pixels around it
const MOST = 1000; // slots: a workflow from elsewhere may claim any number
const GONE = say("ComfyUI keeps these pictures until it restarts. Run the story again to see it.");
const EMPTY = say("The panels appear here as they are drawn.");

const strips = new WeakMap();

/** The strip of one node: a slot for each panel that is to come, a picture in it when it has. */
class PanelStrip {
  constructor(node) {
    this.node = node;
    this.grid = element("div", "storybooth-strip");
    addBox(node, PROPERTY, "STORYBOOTH_PANEL_STRIP", this.grid, MIN_HEIGHT, MARGIN);
    this.render();
  }

  /** Empty slots: a run begins. */
  start(total) {
    this.node.properties[PROPERTY] = { total, panels: [] };
    this.render();
  }

  add({ index, total, caption, image }) {
    const { panels } = this.remembered();
    this.node.properties[PROPERTY] = { total, panels: [...panels.filter((p) => p.index !== index), { index, caption, image }] };
    this.render();
  }

  /** All panels of a finished run. */
  finish(panels) {
    change(() => {
      this.node.properties[PROPERTY] = {
        total: panels[0]?.total ?? panels.length, // a full disk may have kept some from being shown
        panels: panels.map(({ index, caption, image }) => ({ index, caption, image })),
      };
    });
    removePreview(this.node);
    this.render();
  }

  /** What the node's property says, or as much of it as a strip can show. */
  remembered() {
    const { total, panels } = this.node.properties[PROPERTY] ?? {};
    const usable = Array.isArray(panels) ? panels.filter((panel) => panel?.image) : [];
    return { total: Math.min(Number(total) || 0, MOST), panels: usable };
  }

  render() {
    const { total, panels } = this.remembered();
    const slots = Array.from({ length: total }, (_, index) => this.slot(index, panels.find((p) => p.index === index)));
    setChildren(this.grid, slots.length ? slots : [element("p", "", EMPTY)]);
  }

  /** A slot keeps its element while it shows the same picture, so that nothing flickers or loads twice. */
  slot(index, panel) {
    const url = panel ? viewUrl(panel.image) : "";
    const shown = this.grid.children[index];
    if (shown?.dataset.url === url) return shown;
    const label = panel?.caption ? `${index + 1}. ${panel.caption}` : say("Panel {number}", { number: index + 1 });
    const slot = panel ? thumbnail(label, url, GONE) : element("span", "", `${index + 1}`);
    slot.dataset.url = url;
    return slot;
  }
}

const stripOf = (id) => strips.get(nodeOf(id));

app.registerExtension({
  name: "storybooth.panel_strip",

  setup() {
    loadStyle("panel_strip.css");
    api.addEventListener("storybooth.panel", ({ detail }) => {
      const strip = stripOf(detail.node);
      if (detail.index === null) strip?.start(detail.total);
      else strip?.add(detail);
    });
    api.addEventListener("executed", ({ detail }) => {
      const panels = detail.output?.[PROPERTY];
      if (panels) stripOf(detail.display_node ?? detail.node)?.finish(panels);
    });
  },

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const strip = new PanelStrip(node);
    strips.set(node, strip);
    onConfigured(node, () => strip.render());
  },
});

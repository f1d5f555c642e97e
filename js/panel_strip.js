/* The panels of a story on the Story Panel Sampler's node: they appear as they finish and stay when the page is reloaded. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const NODE = "StoryBoothPanelSampler";
const PROPERTY = "storybooth_panels"; // of the node: {total, panels}; what a saved workflow remembers
const MIN_HEIGHT = 150; // pixels; the strip takes whatever more the node has, and scrolls
const MARGIN = 8; // pixels around it
const MOST = 1000; // slots: a workflow from elsewhere may claim any number

const strips = new WeakMap();

/** The strip of one node: a slot for each panel that is to come, a picture in it when it has. */
class PanelStrip {
  constructor(node) {
    this.node = node;
    this.grid = Object.assign(document.createElement("div"), { className: "storybooth-strip" });
    const frame = Object.assign(document.createElement("div"), { className: "storybooth-strip-frame" });
    frame.style.minHeight = `${MIN_HEIGHT}px`; // the classic canvas asks getMinHeight, Nodes 2.0 the browser
    frame.append(this.grid);
    const widget = node.addDOMWidget(PROPERTY, "STORYBOOTH_PANEL_STRIP", frame, {
      serialize: false, // not in the API prompt
      margin: MARGIN,
      getMinHeight: () => MIN_HEIGHT + 2 * MARGIN,
    });
    widget.serialize = false; // not in the saved workflow either
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

  /** All panels of a finished run, made part of the workflow as any change on the canvas is. */
  finish(panels) {
    app.canvas.emitBeforeChange();
    this.node.properties[PROPERTY] = {
      total: panels.length,
      panels: panels.map(({ index, caption, image }) => ({ index, caption, image })),
    };
    app.canvas.emitAfterChange();
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
    this.grid.replaceChildren(...(slots.length ? slots : [text("p", "The panels appear here as they are drawn.")]));
  }

  /** A slot keeps its element while it shows the same picture, so that nothing flickers or loads twice. */
  slot(index, panel) {
    const url = panel ? viewUrl(panel.image) : "";
    const shown = this.grid.children[index];
    if (shown?.dataset.url === url) return shown;
    const slot = panel ? picture(panel, url) : text("span", `${index + 1}`);
    slot.dataset.url = url;
    return slot;
  }
}

/** A thumbnail that opens the whole picture; a quiet note where the file is gone, as after a restart of the server. */
function picture({ index, caption }, url) {
  const link = document.createElement("a");
  const label = caption ? `${index + 1}. ${caption}` : `Panel ${index + 1}`;
  Object.assign(link, { href: url, target: "_blank", title: label });
  const image = Object.assign(document.createElement("img"), { src: url, alt: label, draggable: false });
  image.addEventListener("error", () => {
    const gone = text("span", "gone");
    gone.title = `${label} (ComfyUI keeps these pictures until it restarts. Run the story again to see it.)`;
    gone.dataset.url = url;
    link.replaceWith(gone);
  });
  link.append(image);
  return link;
}

function text(tag, content) {
  return Object.assign(document.createElement(tag), { textContent: content });
}

function viewUrl({ filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

/** The strip of the node that an execution id names; "12:5" is node 5 in the subgraph that node 12 stands for. */
function stripOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part);
    graph = node?.subgraph;
  }
  return strips.get(node);
}

app.registerExtension({
  name: "storybooth.panel_strip",

  setup() {
    const href = new URL("./panel_strip.css", import.meta.url).href;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));

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
    const configured = node.onConfigure; // called when a workflow or a copy fills in the node's properties
    node.onConfigure = function (...given) {
      configured?.apply(this, given);
      strip.render();
    };
  },
});

/* What StoryBooth's extensions of the canvas share. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { say } from "./words.js";

/** What ComfyUI calls the widget in which it shows a node's progress texts. */
export const PROGRESS_TEXT = "$$node-text-preview";

/** Load a stylesheet of this folder: ComfyUI serves them, but loads scripts only. */
export function loadStyle(name) {
  const href = new URL(`./${name}`, import.meta.url).href;
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
}

/** The node that an execution id names; "12:5" is node 5 in the subgraph that node 12 stands for. */
export function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part);
    graph = node?.subgraph;
  }
  return node;
}

loadStyle("shared.css"); // before those of the views, which may say otherwise

/** Put a box on a node, in neither the API prompt nor the saved workflow, and return the frame around it. Heights and
 * `margin` in pixels; it takes its share of whatever more the node has, on the classic canvas up to `maxHeight`. */
export function addBox(node, name, type, box, minHeight, margin, maxHeight) {
  const frame = element("div", "storybooth-frame");
  box.classList.add("storybooth-box");
  frame.append(box);
  frame.style.minHeight = `${minHeight}px`; // the classic canvas asks getMinHeight, Nodes 2.0 the browser
  const getMinHeight = () => minHeight + 2 * margin;
  const getMaxHeight = maxHeight && (() => maxHeight + 2 * margin);
  // The properties panel would take the element away from the node, and list an empty row.
  const options = { serialize: false, hideInPanel: true, margin, getMinHeight, getMaxHeight }; // serialize: of the API prompt
  const widget = node.addDOMWidget(name, type, frame, options);
  widget.serialize = false; // saved workflow
  return frame;
}

/** Take a sampler's last preview, blurry as it is, off a node that now shows its pictures otherwise. */
export function removePreview(node) {
  const locator = node.graph === (app.rootGraph ?? app.graph) ? `${node.id}` : `${node.graph.id}:${node.id}`;
  const { $pinia } = document.querySelector("#vue-app")?.__vue_app__?.config.globalProperties ?? {};
  $pinia?._s?.get("nodeOutput")?.revokePreviewsByLocatorId?.(locator); // Nodes 2.0 looks there only
  delete app.nodePreviewImages?.[locator];
  node.imgs = undefined;
  const place = node.widgets?.findIndex((widget) => widget.name === "$$canvas-image-preview") ?? -1;
  if (place >= 0) node.widgets.splice(place, 1)[0].onRemove?.();
}

/** Call `render` whenever a workflow or a copy has filled in the node's properties. */
export function onConfigured(node, render) {
  const configured = node.onConfigure;
  node.onConfigure = function (...given) {
    configured?.apply(this, given);
    render();
  };
}

/** The widget that holds a node's value. In a subgraph it may be one of the node outside that stands for it. None where
 * the value comes through a wire, or where several nodes stand for the subgraph and may each say another. */
export function freeWidget(node, name) {
  const wire = node.inputs?.[node.findInputSlot(name)]?.link;
  if (wire === undefined || wire === null) return node.widgets?.find((widget) => widget.name === name);
  const link = node.graph?.getLink(wire);
  const inlet = link && isInlet(link) && node.graph.inputs[link.origin_slot];
  const outside = inlet ? allNodes().filter(({ subgraph }) => subgraph === node.graph) : [];
  return outside.length === 1 ? freeWidget(outside[0], inlet.name) : undefined;
}

/** Call `render` when an element comes into sight: what stands outside of a subgraph may have changed meanwhile. */
export function onSeen(box, render) {
  new IntersectionObserver((entries) => entries.at(-1).isIntersecting && render()).observe(box);
}

/** The nodes of the workflow, those in subgraphs, too. */
export function allNodes() {
  const graph = app.rootGraph ?? app.graph;
  return [graph, ...(graph.subgraphs?.values() ?? [])].flatMap(({ nodes }) => nodes);
}

/** Whether a link comes from outside of its subgraph: so LiteGraph numbers what is no node. */
function isInlet({ origin_id }) {
  return Number(origin_id) === -10;
}

/** Make a change of a node part of the workflow, as any change on the canvas is. */
export function change(apply) {
  app.canvas.emitBeforeChange();
  apply();
  app.canvas.emitAfterChange();
}

/** The address of a picture that the server names by filename, subfolder and type. */
export function viewUrl({ filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

/** Give an element these children. What was there and stays keeps the focus, which replaceChildren takes from it. */
export function setChildren(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => child !== parent.childNodes[index] && parent.insertBefore(child, parent.childNodes[index] ?? null));
}

/** Do what may move, take away, hide or disable the element in `box` that has the focus. It gets it back, or the next button
 * beside it does, or the next of all: without a focus keys would reach the canvas behind a dialog. */
export function keepFocus(box, act) {
  const held = document.activeElement;
  const all = [...box.querySelectorAll("button, input, textarea, select")];
  const at = all.indexOf(held);
  const beside = all.filter((each) => each.parentNode === held.parentNode);
  act();
  if (at < 0) return;
  const usable = (each) => each.isConnected && !each.disabled && each.checkVisibility();
  const next = (among) => {
    const left = among.filter((each) => each.matches("button") && usable(each));
    return left.find((each) => all.indexOf(each) > at) ?? left.at(-1);
  };
  (usable(held) ? held : (next(beside) ?? next(all)))?.focus();
}

export function element(tag, className = "", textContent = "") {
  return Object.assign(document.createElement(tag), { className, textContent });
}

/** A button that says what it does when it is pointed at. */
export function button(text, title, act) {
  const made = element("button", "", text);
  Object.assign(made, { type: "button", title });
  if (text.length < 3) made.setAttribute("aria-label", title);
  made.addEventListener("click", act);
  return made;
}

/** A thumbnail that opens the whole picture; a quiet note where the file is gone, as after a restart of the server. */
export function thumbnail(label, url, goneBecause) {
  const link = element("a");
  Object.assign(link, { href: url, target: "_blank", title: label });
  const image = Object.assign(element("img"), { src: url, alt: label, draggable: false });
  image.addEventListener("error", () => {
    const gone = element("span", "", say("gone"));
    gone.title = `${label} (${goneBecause})`;
    gone.dataset.url = url;
    link.replaceWith(gone);
  });
  link.append(image);
  return link;
}

/* Widgets of StoryBooth's nodes. On the classic canvas rare ones are folded away, as Nodes 2.0 does by itself, and numbers
 * whose 0 means "auto", "off" or the like say so (Nodes 2.0 formats numbers in its own way). On both, names of files may
 * hold the date. */

import { app } from "../../scripts/app.js";
import { onConfigured } from "./shared.js";

app.registerExtension({
  name: "StoryBooth.Widgets",
  nodeCreated(node) {
    const { nodeData } = node.constructor;
    if (!nodeData?.name?.startsWith("StoryBooth")) return;
    const inputs = { ...nodeData.input?.required, ...nodeData.input?.optional };
    const rare = [];
    for (const widget of node.widgets ?? []) {
      const options = inputs[widget.name]?.[1] ?? {};
      if (options.storybooth_zero) showWord(widget, options.storybooth_zero);
      if (widget.name === "filename_prefix") fillIn(widget);
      if (options.advanced) rare.push({ widget, usual: options.default });
    }
    if (rare.length) foldAway(node, rare);
  },
});

/** Hide widgets until the node's menu is asked for them (Show Advanced), or one of them is not as it usually is. */
function foldAway(node, rare) {
  const fold = (away) => {
    for (const { widget } of rare) widget.hidden = away; // the classic canvas keeps room for one that is only advanced
  };
  for (const { widget } of rare) widget.advanced = true;
  const toggle = node.toggleAdvanced;
  node.toggleAdvanced = function () {
    fold(Boolean(this.showAdvanced));
    toggle?.call(this);
  };
  const update = () => {
    const always = app.extensionManager?.setting?.get("Comfy.Node.AlwaysShowAdvancedWidgets");
    if (always || rare.some(({ widget, usual }) => widget.value !== usual)) node.showAdvanced = true;
    fold(!node.showAdvanced);
  };
  update();
  onConfigured(node, update);
}

/** What %date:yyyy-MM-dd% and %node.widget% stand for is filled in when the graph is queued, as for Save Image. */
function fillIn(widget) {
  const replaced = globalThis.comfyAPI?.utils?.applyTextReplacements;
  if (replaced) widget.serializeValue = () => replaced(app, widget.value);
}

/** Show `word` while the widget is at 0, and what its class shows otherwise. */
function showWord(widget, word) {
  const shown = findGetter(widget, "_displayValue");
  if (!shown) return; // a front end that draws numbers otherwise
  const get = () => (Number(widget.value) === 0 && !widget.computedDisabled ? word : shown.call(widget));
  Object.defineProperty(widget, "_displayValue", { get, configurable: true });
}

function findGetter(object, name) {
  for (let each = object; each; each = Object.getPrototypeOf(each)) {
    const found = Object.getOwnPropertyDescriptor(each, name)?.get;
    if (found) return found;
  }
  return undefined;
}

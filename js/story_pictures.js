/* Which picture belongs to which line of a story, and how it is shown. */

import { api } from "../../scripts/api.js";
import { element, freeWidget, nodeOf, viewUrl } from "./shared.js";
import { say } from "./words.js";

/** Give each line that is shown its `picture`: the one drawn from its very words, else (`stale`) the one that was drawn
 * beside its neighbour's. Both lists are in story order. */
export function matchPictures(panels, pictures) {
  const unused = new Set(pictures);
  for (const panel of panels) {
    const isOf = ({ written, locked }) => panel.text === written || panel.text === locked;
    panel.picture = pictures.find((picture) => unused.has(picture) && isOf(picture));
    unused.delete(panel.picture);
  }
  let place = -1;
  for (const panel of unused.size ? panels : []) {
    const next = pictures[place + 1];
    if (!panel.picture && unused.delete(next)) {
      panel.picture = next;
      panel.stale = true;
    }
    if (panel.picture) place = pictures.indexOf(panel.picture);
  }
}

/** What a panel is called by its number on the page. */
export function nameOf({ number }) {
  return number ? say("Panel {number}", { number }) : say("Hidden");
}

/** A panel's picture, or a few words where there is none. */
export function face(panel, className) {
  if (!panel.picture) return element("span", className, panel.hidden ? say("hidden") : say("not drawn yet"));
  const image = element("img", className);
  Object.assign(image, { src: viewUrl(panel.picture.image), alt: "", draggable: false });
  image.addEventListener("error", () => {
    const gone = element("span", className, say("gone"));
    gone.title = say("ComfyUI keeps these pictures until it restarts. Run the story again to see it.");
    image.replaceWith(gone);
  });
  return image;
}

/** What a face is made of: while it stays the same, so may the element. */
export const faceKey = ({ picture, hidden }) => (picture ? viewUrl(picture.image) : `${hidden}`);

/** Put back the seeds that a run had, and keep them: one that moves on at every run, as ComfyUI has it for new nodes,
 * would draw all panels again and not just one. Answers what the user should know. */
export async function holdSeeds(promptId) {
  const moving = (node) => {
    const control = node?.widgets?.find((widget) => widget.name === "control_after_generate");
    return control && control.value !== "fixed" && freeWidget(node, "seed") ? control : undefined;
  };
  const answer = await api.fetchApi(`/history/${encodeURIComponent(promptId)}`);
  const nodes = answer.ok ? (await answer.json())[promptId]?.prompt?.[2] : undefined;
  if (!nodes) return say("The server has forgotten that run: where a seed changes after every run, all panels are drawn again.");
  const held = [];
  for (const [id, { class_type, inputs }] of Object.entries(nodes)) {
    const node = class_type.startsWith("StoryBooth") ? nodeOf(id) : undefined;
    const control = moving(node);
    if (!control || typeof inputs.seed !== "number") continue;
    control.value = "fixed";
    freeWidget(node, "seed").value = inputs.seed;
    held.push(node.title);
  }
  return held.length ? say("The seed of {names} is fixed now, so that the other panels stay.", { names: held.join(", ") }) : "";
}

/** Hear what is drawn, and what goes wrong. `storyOf(id)` is the story of the node that an execution id names. */
export function listen(storyOf, all) {
  const toPicture = ({ line, written, seed, image, prompt_id }) => ({ line, written, seed, image, prompt_id });
  api.addEventListener("storybooth.panel", ({ detail }) => {
    const story = detail.storyboard && storyOf(detail.storyboard);
    if (detail.index === null) story?.begin();
    else story?.add(toPicture(detail));
  });
  api.addEventListener("executed", ({ detail }) => {
    const panels = detail.output?.storybooth_panels?.filter((panel) => panel.storyboard) ?? [];
    if (panels.length) storyOf(panels[0].storyboard)?.finish(panels.map(toPicture));
  });
  api.addEventListener("execution_start", () => all().forEach((story) => story.say(say("Drawing…"))));
  api.addEventListener("execution_success", () => all().forEach((story) => story.end(say("Done."))));
  api.addEventListener("execution_interrupted", () => all().forEach((story) => story.end(say("Cancelled."))));
  api.addEventListener("execution_error", ({ detail }) => {
    const message = detail.exception_message?.trim() ?? "";
    const title = nodeOf(detail.node_id)?.title ?? detail.node_type;
    for (const story of all()) story.end(`${title}: ${message}`);
    const line = /^script, line (\d+)/.exec(message)?.[1];
    if (line) storyOf(detail.node_id)?.refuse(Number(line) - 1, message);
  });
}

/* What nodes say of themselves below their widgets. The server writes English: logs and clients of the API read it. On a
 * canvas in another language the same line is said by these shapes; what has none stays as it came. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { nodeOf, PROGRESS_TEXT } from "./shared.js";
import { say } from "./words.js";

const NUMBERS = new Set(["count", "masked", "number", "own"]);
const LISTS = new Set(["settings"]);

/* The first that fits is taken, and what stands in braces may be of such a shape itself. A test looks for all in Python. */
const SHAPES = [
  shape("encoding image {number} of {count}"),
  shape("Photos: {count}, with captions of their own: {own}, with masks: {masked}"),
  shape("Photos: {count}, with captions of their own: {own}"),
  shape("Left out: {names}"),
  shape("Trained before: {file}"),
  shape("Saved before: {file}"),
  shape("Saved {file}"),
  shape("In prompts: {words}"),
  shape("LoRA: {saved}"),
  shape("few photos: {settings}"),
  shape("strong likeness: {settings}"),
  shape("flexible: {settings}"),
  shape("{setting} stays {value}"),
  shape("target layers"),
  shape("target layers {value}"),
  shape("rank"),
  shape("rank {value}"),
  shape("steps"),
  shape("steps {value}"),
  shape("method"),
  shape("method {value}"),
  shape("saved {files} ({size} MB)"),
  shape("1 page"),
  shape("{count} pages"),
  shape("1 page: {saved}"),
  shape("{count} pages: {saved}"),
  shape("Pages are laid out {direction}, and reading is {reading}: set both alike"),
  shape("{count} panels on {pages}"),
  shape("In SDXL's sizes: {sizes}"),
  shape("Panel {number} is drawn but cannot be shown: {error}"),
  shape("at most {size}"),
  shape("1 identity image, bank of {size}"),
  shape("{count} identity images, bank of {size}"),
  shape("With one [id] line the identity image has no other to agree with; two or more work better"),
  shape("Found the bank that was written before from the same inputs"),
  shape("This bank will be empty, and pictures as without it: {why}"),
  shape("Nothing is read from the bank: {why}"),
  shape("No bank of {names}: no line shows that character alone"),
  shape("Write one such as {line}"),
  shape("keep"),
  shape("readers"),
  shape("all of the picture reads the bank"),
  shape("any token counts as the subject's"),
  shape("{setting}: at the first step nothing has shown yet where the subject is, so {means} there"),
  shape("A start step of 1 or more leaves that step out"),
  shape("{setting}: the prompts do not tell where the subject is, so {means}"),
  shape("Prompts of Storyboard with a subject do"),
  shape("{setting}: another node on this model replaces its cross-attention, which tells where the subject is, so {means}"),
  shape("Take that node off the model"),
  shape("Take that node off the model, or wire in subject masks"),
  shape("{setting}: the subject cannot be found in line {lines} ({why}), so all of that identity image counts as the subject"),
  shape("'{words}' is not in the prompt"),
  shape("there is none"),
  shape("Write {words} there, or wire in subject masks"),
  shape("{images} were drawn with another negative prompt ({negative})"),
  shape("The bank's identity images"),
  shape("The bank's identity images of {names}"),
  shape("The panels follow the storyboard's; write the bank again to make all alike"),
];

/** The server's lines in the canvas's language: each as a whole or sentence by sentence, a character's name before it. */
export function sayLines(english) {
  return english
    .split("\n")
    .map((line) => sayLine(line) ?? sayOf(line) ?? line)
    .join("\n");
}

function sayLine(english) {
  const sentences = english.split(/\. (?=\S)/);
  const said = sentences.map(sayWhole);
  if (sentences.length > 1 && !said.includes(undefined)) return join(said);
  const whole = sayWhole(english);
  if (whole !== undefined || said.every((words) => words === undefined)) return whole;
  return join(said.map((words, index) => words ?? sentences[index]));
}

function sayOf(english) {
  const [, name, rest] = /^([\p{L}\p{N}_]+: )(.+)$/su.exec(english) ?? [];
  const said = rest && sayLine(rest);
  return said && name + said;
}

const join = (said) => said.reduce((before, next) => say("{sentence}. {next}", { sentence: before, next }));

/** One sentence; undefined where it has no shape. */
function sayWhole(english) {
  for (const [pattern, text] of SHAPES) {
    const found = pattern.exec(english);
    if (!found) continue;
    const values = Object.entries(found.groups ?? {}).map(([name, value]) => [name, sayValue(name, value)]);
    const sentence = say(text, Object.fromEntries(values));
    return found.at(-1) ? say("{sentence}.", { sentence }) : sentence;
  }
  return undefined;
}

function sayValue(name, value) {
  const parts = LISTS.has(name) ? value.split(", ") : [value];
  return parts.map((part) => sayWhole(part) ?? part).join(", ");
}

function shape(text) {
  const literal = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  const pattern = literal.replace(/\{(\w+)\}/g, (_, name) => `(?<${name}>${NUMBERS.has(name) ? "\\d+" : ".+?"})`);
  return [new RegExp(`^${pattern}(\\.?)$`, "su"), text];
}

app.registerExtension({
  name: "StoryBooth.StatusLines",
  setup() {
    api.addEventListener("progress_text", ({ detail }) => {
      const node = nodeOf(detail.nodeId);
      if (!node?.comfyClass?.startsWith("StoryBooth")) return;
      queueMicrotask(() => {
        const widget = node.widgets?.find(({ name }) => name === PROGRESS_TEXT); // once ComfyUI has shown the line
        if (widget?.value === detail.text) widget.value = sayLines(detail.text);
      });
    });
  },
});

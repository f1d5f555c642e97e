/* The open card of the board: one panel large, with a field for each part of its line. */

import { button, element, keepFocus, setChildren } from "./shared.js";
import * as lines from "./script_lines.js";
import { face, faceKey, nameOf } from "./story_pictures.js";
import { say } from "./words.js";

const FLAGS = {
  id: [say("identity"), say("[id]: the other panels take the character from this picture")],
  hidden: [say("hidden"), say("[hidden]: not shown on the page")],
  plain: [say("plain"), say("[plain]: drawn without the identity bank")],
  nc: [say("no character"), say("[NC]: the subject is left out of this picture")],
};
const SPEECHES = { "Speech": ["says", "Hello!"], "Thought": ["thinks", "Hm."], "Sound": ["says", "CRASH"] };
const NAMES = { Speech: say("Speech"), Thought: say("Thought"), Sound: say("Sound") };
const SOUND = "sound"; // who speaks in a noise

export class OpenCard {
  constructor(board) {
    this.board = board;
    this.typing = null; // {field, from, written}: the line before it was typed in, and as it is by now
    this.box = element("section", "storybooth-open-card");
    this.box.setAttribute("aria-label", say("The open panel"));
    this.title = element("h3");
    this.figure = element("figure");
    this.note = element("p", "storybooth-note");
    const head = element("header");
    head.append(
      this.title,
      button("◀", say("Move it forward in the story (Alt + left arrow)"), () => board.step(-1)),
      button("▶", say("Move it back in the story (Alt + right arrow)"), () => board.step(1)),
      button(say("Duplicate"), say("The same panel once more"), () => board.duplicate()),
      button(say("Delete"), say("Take the panel out of the story (Delete)"), () => board.remove()),
    );
    this.prompt = this.field("textarea", say("Picture"), say("What the panel shows; {subject} stands for the character"), "prompt");
    this.characters = element("div", "storybooth-buttons");
    this.speech = element("div", "storybooth-speeches");
    const speeches = element("div", "storybooth-buttons");
    for (const [name, [how, words]] of Object.entries(SPEECHES)) {
      speeches.append(button(`+ ${NAMES[name]}`, say("Letter a {name} into the panel", { name: NAMES[name].toLowerCase() }), () => this.say(name, how, words)));
    }
    this.prompt.rows = 3;
    this.caption = this.field("textarea", say("Caption"), say("Told beside the picture"), "caption");
    this.caption.rows = 1;
    this.flags = element("div", "storybooth-buttons");
    this.toggles = Object.entries(FLAGS).map(([name, [label, title]]) => {
      const toggle = button(label, title, () => board.write(lines.setFlag(this.text, name, !lines.flagOf(this.parts, name))));
      toggle.dataset.flag = name;
      return toggle;
    });
    this.seed = this.field("input", say("Seed"), say("Empty: that of the sampler"), "seed");
    this.seed.inputMode = "numeric";
    this.lock = button("", "", () => board.lock());
    const seeds = element("div", "storybooth-buttons");
    this.again = button(say("Draw again"), "", () => board.drawAgain());
    seeds.append(this.seed.parentNode, this.again, this.lock);
    const said = group(say("Speech"), this.speech, speeches);
    this.line = this.field("textarea", say("As it stands in the script"), "", "line");
    this.box.append(head, this.figure, this.note, this.prompt.parentNode, group(say("Characters"), this.characters), said);
    this.box.append(this.caption.parentNode, group(say("How it is drawn"), this.flags), seeds, this.line.parentNode);
  }

  /** A labelled field that writes `part` of the line with every key. */
  field(tag, label, placeholder, part) {
    const made = Object.assign(element(tag), { placeholder, spellcheck: part !== "seed" });
    made.dataset.part = part;
    const around = element("label");
    around.append(element("span", "storybooth-label", label), made);
    this.listen(made, () => this.typed(part, made.value));
    return made;
  }

  listen(field, typed) {
    field.addEventListener("input", typed);
    field.addEventListener("change", () => {
      this.typing = null;
      this.board.write(this.text); // a step of undo: all that was typed
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) event.preventDefault(); // a line is one panel
    });
  }

  typed(part, value) {
    const seed = value.trim();
    if (part === "seed" && !/^[0-9]{0,20}$/.test(seed)) return this.seed.setAttribute("aria-invalid", "true");
    const change = {
      line: () => lines.splitLines(value).texts.join(" "),
      prompt: (text) => lines.setPrompt(text, value),
      caption: (text) => lines.setCaption(text, value),
      seed: (text) => lines.setFlag(text, "seed", seed !== "", seed),
    }[part];
    this.change(this[part], change);
  }

  /** Write what is typed in a field. A half-typed word may be a part of the grammar, as the # of "#1" is: each key changes
   * the line as it was before the first one, so that typing comes to the same as filling the field in at once. */
  change(field, change) {
    const goesOn = this.typing?.field === field && this.typing.written === this.text;
    const from = goesOn ? this.typing.from : this.text;
    this.typing = { field, from, written: change(from) };
    this.board.write(this.typing.written, false);
  }

  say(name, how, words) {
    const last = this.parts.speech.findLast(({ speaker }) => speaker.toLowerCase() !== SOUND)?.speaker;
    const [shown] = lines.charactersIn(this.parts.prompt.text).filter((each) => each !== "subject" && lines.isName(each));
    const speaker = name === "Sound" ? SOUND : (last ?? shown ?? "me");
    this.board.write(lines.addSpeech(this.text, speaker, how, words));
    const field = this.speech.lastChild.querySelector("textarea");
    field.focus();
    field.select();
  }

  focus() {
    this.prompt.focus();
    this.prompt.setSelectionRange(this.prompt.value.length, this.prompt.value.length);
  }

  /** Show a panel. A field that is being typed in keeps what stands in it until it is left, unless `force`. */
  show(panel, force = false) {
    if (force) this.typing = null;
    keepFocus(this.box, () => this.fill(panel));
  }

  fill(panel) {
    this.box.hidden = !panel;
    if (!panel) return;
    const { parts, text, picture, stale, waiting, refused } = panel;
    Object.assign(this, { panel, parts, text });
    this.title.textContent = nameOf(panel);
    if (this.figure.dataset.key !== faceKey(panel)) this.figure.replaceChildren(face(panel, "storybooth-face"));
    this.figure.dataset.key = faceKey(panel);
    this.figure.classList.toggle("storybooth-stale", Boolean(stale));
    this.figure.classList.toggle("storybooth-waiting", waiting);
    this.note.textContent = refused || (stale && !waiting ? say("The line has changed since. Run draws it again.") : "");
    this.note.classList.toggle("storybooth-refused", Boolean(refused));
    const { typing } = this;
    const set = (field, value) => {
      const isTyped = field === typing?.field && field === document.activeElement && text === typing.written;
      if (!isTyped && field.value !== value) field.value = value;
    };
    const seed = lines.flagOf(parts, "seed");
    set(this.prompt, parts.prompt.text);
    set(this.caption, parts.caption?.text ?? "");
    set(this.seed, seed?.value ?? "");
    set(this.line, text);
    this.seed.removeAttribute("aria-invalid");
    this.showSpeech(parts.speech, set);
    this.showCharacters(this.board.story.characters());
    for (const toggle of this.toggles) {
      toggle.setAttribute("aria-pressed", Boolean(lines.flagOf(parts, toggle.dataset.flag)));
    }
    const others = parts.flags.filter(({ name }) => !(name in FLAGS) && name !== "seed");
    setChildren(this.flags, [...this.toggles, ...others.map((flag) => element("i", "", flag.text))]);
    this.again.title = panel.identity
      ? say("With another seed. Others take the character from this picture: where a bank is written, they change with it")
      : say("With another seed; all other panels stay");
    this.lock.textContent = seed ? say("Unlock") : say("Lock");
    this.lock.title = seed ? say("Take the panel's own seed out") : lockable(picture);
    this.lock.disabled = !seed && !picture?.seed;
    this.lock.setAttribute("aria-pressed", Boolean(seed));
  }

  showCharacters(names) {
    const before = new Map([...this.characters.children].map((toggle) => [toggle.textContent, toggle]));
    const toggles = names.map((name) => before.get(name) ?? this.character(name));
    setChildren(this.characters, toggles);
    const shown = lines.charactersIn(this.parts.prompt.text);
    names.forEach((name, index) => {
      const isShown = shown.some((other) => lines.isOne(name, other));
      this.characters.children[index].setAttribute("aria-pressed", isShown);
    });
  }

  /** A toggle that puts a character into the picture, or takes it out. */
  character(name) {
    const toggle = button(name, say("{name} in the picture", { name: `{${name}}` }), () => {
      const wanted = toggle.getAttribute("aria-pressed") !== "true";
      this.board.write(lines.setCharacter(this.text, name, wanted));
    });
    return toggle;
  }

  showSpeech(speech, set) {
    while (this.speech.children.length > speech.length) this.speech.lastChild.remove();
    speech.forEach(({ speaker, how, where, words }, index) => {
      const row = this.speech.children[index] ?? this.speech.appendChild(this.speechRow(index));
      const [who, manner, place, , said] = row.children;
      set(who, speaker);
      who.removeAttribute("aria-invalid");
      manner.value = how;
      manner.disabled = speaker.toLowerCase() === SOUND;
      place.value = where;
      set(said, words.text);
    });
  }

  speechRow(index) {
    const row = element("div", "storybooth-speech");
    const who = Object.assign(element("input"), { ariaLabel: say("Who speaks"), maxLength: 40, spellcheck: false });
    const how = choice(say("How"), lines.HOW);
    const where = choice(say("Where"), lines.WHERE);
    const words = Object.assign(element("textarea"), { ariaLabel: say("Words"), rows: 1 });
    const told = () => ({ speaker: who.value.trim(), how: how.value, where: where.value });
    this.listen(who, () => {
      if (!lines.isName(who.value.trim())) return who.setAttribute("aria-invalid", "true");
      this.change(who, (text) => lines.setSpeaker(text, index, told()));
    });
    for (const each of [how, where]) {
      each.addEventListener("change", () => {
        const { speaker } = this.parts.speech[index];
        this.board.write(lines.setSpeaker(this.text, index, { ...told(), speaker }));
      });
    }
    this.listen(words, () => this.change(words, (text) => lines.setWords(text, index, words.value)));
    const gone = button("✕", say("Take this out"), () => this.board.write(lines.removeSpeech(this.text, index)));
    row.append(who, how, where, gone, words);
    return row;
  }
}

/** What belongs together, under a label. */
function group(label, ...parts) {
  const around = element("div", "storybooth-group");
  around.setAttribute("role", "group");
  around.setAttribute("aria-label", label);
  around.append(element("span", "storybooth-label", label), ...parts);
  return around;
}

function choice(label, values) {
  const made = Object.assign(element("select"), { ariaLabel: label, title: label });
  made.append(...values.map((value) => Object.assign(element("option", "", value), { value })));
  return made;
}

function lockable(picture) {
  if (picture?.seed) return say("Write the seed of this picture into its line, so that it stays");
  return picture ? say("An identity image without a seed of its own: the bank holds it") : say("There is no picture yet");
}

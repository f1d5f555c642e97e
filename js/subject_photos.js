/* The photos of a folder on Load Subject Images, with their captions, which are written beside them; more are dropped on the
 * node or chosen in a dialog. Nothing of this is in the workflow: it is all in the folder. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addBox, allNodes, button, change, element, freeWidget, loadStyle, onConfigured, onSeen, setChildren } from "./shared.js";
import { say } from "./words.js";

const NODE = "StoryBoothSubjectImages";
const MIN_HEIGHT = 150; // pixels; the list takes whatever more the node has, and scrolls
const MARGIN = 8; // pixels around it
const PATIENCE = 400; // milliseconds without a key until a caption is kept
const NEW = "my character"; // folder of photos that are added while a sample is shown
const TAKEN = ".png,.jpg,.jpeg,.jpe,.jfif,.webp,.bmp,.gif,.tif,.tiff,.avif,.heic,.heif,.hif"; // photo_files.py

const views = new WeakMap();

class SubjectPhotos {
  constructor(node) {
    this.node = node;
    this.own = false; // whether the folder is the user's, and not a sample of the pack
    this.asked = 0; // of the last look at a folder: answers to earlier ones come too late
    this.list = element("div", "storybooth-photos-list");
    this.status = element("output");
    this.files = Object.assign(element("input"), { type: "file", accept: TAKEN, multiple: true, hidden: true });
    this.files.addEventListener("change", () => {
      this.add([...this.files.files]);
      this.files.value = ""; // so that the same photo can be chosen again
    });
    this.target = Object.assign(element("input"), { spellcheck: false, ariaLabel: say("Folder that photos are added to") });
    this.target.title = say("The folder of ComfyUI's input folder that photos are added to; one that is not there is made");
    const head = element("header");
    const choose = button(say("Add photos…"), say("Choose photos, or drop them on this node"), () => this.files.click());
    head.append(choose, say("to"), this.target, this.files);
    const box = element("div", "storybooth-photos");
    box.append(head, this.list, this.status);
    this.takeDrops(addBox(node, "storybooth_photos", "STORYBOOTH_PHOTOS", box, MIN_HEIGHT, MARGIN));
    for (const name of ["folder", "default_caption"]) {
      const widget = node.widgets.find((each) => each.name === name);
      const told = widget.callback;
      widget.callback = (...given) => {
        told?.apply(widget, given);
        if (name === "folder") this.look();
        else this.hint();
      };
    }
    onSeen(box, () => this.shownFolder !== this.folder && this.look());
    this.look();
  }

  get folder() {
    return freeWidget(this.node, "folder")?.value;
  }

  /** Photos may be dropped anywhere on the node: on the canvas that is told by these two, over our element by events. */
  takeDrops(frame) {
    const { node } = this;
    const holdsFiles = ({ dataTransfer }) => [...(dataTransfer?.items ?? [])].some(({ kind }) => kind === "file");
    node.onDragOver = holdsFiles;
    node.onDragDrop = (event) => {
      if (!holdsFiles(event)) return false;
      this.add([...event.dataTransfer.files]);
      return true;
    };
    frame.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    frame.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.stopPropagation(); // ComfyUI opens what is dropped beside a node as a workflow
      node.onDragDrop(event);
    });
  }

  /** Put photos into the folder that `target` names, and show that. ComfyUI gives a name that is taken another one. */
  async add(files) {
    const isPhoto = ({ name }) => TAKEN.split(",").some((suffix) => name.toLowerCase().endsWith(suffix));
    const photos = files.filter(isPhoto);
    const others = files.filter((file) => !isPhoto(file)).map(({ name }) => name);
    const left = others.length ? say("Left out, as these are no photos: {names}.", { names: others.join(", ") }) : "";
    const folder = this.target.value.trim().replaceAll("\\", "/");
    if (!folder || folder.split("/").some((part) => !part.trim() || part.startsWith("."))) {
      this.say(say("\"{folder}\" is no name of a folder. Write one such as anna, or people/anna.", { folder }));
      return;
    }
    let added = 0;
    let problem = "";
    for (const photo of photos) {
      this.say(say("Adding {name}…", { name: photo.name }));
      const body = new FormData();
      body.append("image", photo);
      body.append("subfolder", folder);
      body.append("type", "input");
      try {
        const answer = await api.fetchApi("/upload/image", { method: "POST", body });
        if (!answer.ok) throw new Error((await answer.text()) || answer.statusText || `status ${answer.status}`);
        added++;
      } catch (error) {
        problem = say("{name} could not be added: {error}.", { name: photo.name, error: error.message });
        break;
      }
    }
    if (added) this.choose(folder);
    const told = added === 1 ? say("1 photo is added.") : say("{added} photos are added.", { added });
    this.tell([told, problem, left].filter(Boolean).join(" "));
  }

  choose(folder) {
    const widget = freeWidget(this.node, "folder");
    if (!widget) return;
    const { values } = widget.options;
    if (Array.isArray(values) && !values.includes(folder)) values.push(folder);
    if (widget.value === folder) this.look();
    else
      change(() => {
        widget.value = folder;
        widget.callback?.(folder);
        if (!this.node.widgets.includes(widget)) this.look(); // it is outside of the subgraph
      });
  }

  /** Ask what is in the folder. */
  async look() {
    const { folder } = this;
    const asked = ++this.asked;
    this.shownFolder = folder;
    if (!folder) return this.show(folder === undefined ? say("The folder comes through a wire.") : say("Choose a folder."), []);
    const answer = await api.fetchApi(`/storybooth/photos?${new URLSearchParams({ folder })}`);
    const found = await answer.json().catch(() => ({ error: answer.statusText }));
    if (asked !== this.asked) return;
    this.own = answer.ok && found.own;
    this.show(answer.ok ? "" : found.error, found.photos ?? []);
  }

  show(problem, photos) {
    const before = Object.fromEntries([...this.list.children].map((row) => [row.dataset.key, row]));
    const rows = photos.map((photo) => {
      const key = JSON.stringify([this.folder, this.own, photo.name, photo.state]);
      const row = before[key] ?? this.row(photo);
      row.dataset.key = key;
      const field = row.querySelector("textarea");
      // What is typed, or on its way to the server, is newer than this answer.
      if (field !== document.activeElement && !row.dataset.keeping) field.value = photo.caption;
      return row;
    });
    setChildren(this.list, rows); // somebody may be typing in one while others come
    const target = this.own ? this.folder : this.free();
    if (this.target !== document.activeElement) this.target.value = target;
    const count = photos.length === 1 ? say("1 photo") : say("{count} photos", { count: photos.length });
    const told = this.told && this.told.folder === this.folder ? this.told.text : "";
    this.say(problem || told || (this.own ? count : say("{count} that came with StoryBooth: their captions stay as they are", { count })));
    this.hint();
  }

  /** A name for a new folder. */
  free() {
    const { values } = freeWidget(this.node, "folder")?.options ?? {};
    const taken = Array.isArray(values) ? values : [];
    let name = NEW;
    for (let number = 2; taken.includes(name); number++) name = `${NEW} ${number}`;
    return name;
  }

  /** What a photo without a caption has instead. */
  hint() {
    const widget = freeWidget(this.node, "default_caption");
    const other = widget ? String(widget.value ?? "").trim() : "";
    for (const field of this.list.querySelectorAll("textarea")) field.placeholder = other || say("as the trainer's instance prompt says");
  }

  row(photo) {
    const { folder } = this;
    const row = element("figure");
    const at = new URLSearchParams({ folder, name: photo.name, state: photo.state });
    const image = Object.assign(element("img"), { alt: photo.name, title: photo.name, draggable: false, loading: "lazy" });
    image.src = api.apiURL(`/storybooth/photo?${at}`);
    image.addEventListener("error", () => image.replaceWith(element("span", "", say("no picture"))));
    const field = Object.assign(element("textarea"), { rows: 2, ariaLabel: say("Caption of {name}", { name: photo.name }), title: photo.name });
    field.readOnly = !this.own;
    let waiting;
    let kept = photo.caption;
    const keep = async () => {
      clearTimeout(waiting);
      if (row.dataset.keeping) return; // one after the other: the server may answer two in any order
      row.dataset.keeping = "yes";
      while (field.value.trim() !== kept.trim()) {
        kept = field.value;
        await this.keep(folder, photo.name, kept);
      }
      delete row.dataset.keeping;
    };
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(keep, PATIENCE);
    });
    field.addEventListener("change", keep);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) keep();
      else event.stopPropagation(); // no shortcut of the canvas
    });
    row.append(image, field);
    return row;
  }

  async keep(folder, name, caption) {
    const init = { method: "POST", headers: { "Content-Type": "application/json" } };
    init.body = JSON.stringify({ folder, name, caption });
    try {
      const answer = await api.fetchApi("/storybooth/caption", init);
      const { error } = await answer.json();
      this.tell(error ? say("The caption of {name} is not kept: {error}", { name, error }) : say("The caption of {name} is kept.", { name }));
    } catch (error) {
      this.tell(say("The caption of {name} is not kept: {error}. Is ComfyUI running?", { name, error: error.message }));
    }
  }

  /** Say what has happened, for as long as the folder is shown. */
  tell(text) {
    this.told = { folder: this.folder, text };
    this.say(text);
  }

  say(text) {
    this.status.textContent = text;
    this.status.title = text;
  }
}

app.registerExtension({
  name: "storybooth.subject_photos",

  setup() {
    loadStyle("subject_photos.css");
  },

  /** R was pressed: what is in folders may have changed. */
  refreshComboInNodes() {
    for (const node of allNodes()) views.get(node)?.look();
  },

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const view = new SubjectPhotos(node);
    views.set(node, view);
    onConfigured(node, () => view.look());
    const told = node.onConnectionsChange;
    node.onConnectionsChange = function (...given) {
      told?.apply(this, given);
      view.look();
    };
  },
});

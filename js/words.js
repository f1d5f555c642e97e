/* What StoryBooth says on the canvas, in the language that the canvas is set to where there is a translation (locales/). */

import { api } from "../../scripts/api.js";

const words = await load();

/** `english`, or its translation, with `values` in the place of the names in braces. */
export function say(english, values = {}) {
  return (words[english] ?? english).replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces);
}

/** The translations of one language; none where the server cannot be asked. Nothing may keep the nodes from working. */
async function load() {
  try {
    const ask = async (path) => (await api.fetchApi(path)).json();
    const language = String((await ask("/settings/Comfy.Locale")) || navigator.language);
    if (language.startsWith("en")) return {}; // no need to ask for the translations of all packs
    const all = await ask("/i18n");
    const short = language === "zh-CN" ? "zh" : language.replace(/^(ko|ja)-.*/, "$1"); // not zh-TW: the canvas has its own
    return all[language]?.storyBooth ?? all[short]?.storyBooth ?? {};
  } catch {
    return {};
  }
}

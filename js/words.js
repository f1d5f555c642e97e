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
    const answers = [api.fetchApi("/settings/Comfy.Locale"), api.fetchApi("/i18n")].map(async (asked) => (await asked).json());
    const [chosen, all] = await Promise.all(answers);
    const language = String(chosen || navigator.language);
    const short = language === "zh-CN" ? "zh" : language.replace(/^(ko|ja)-.*/, "$1"); // not zh-TW: the canvas has its own
    return all[language]?.storyBooth ?? all[short]?.storyBooth ?? {};
  } catch {
    return {};
  }
}

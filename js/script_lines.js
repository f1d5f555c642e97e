/* A story's text taken apart, and changed where it is changed: comic/storyboard.py has its grammar, and reads what comes of
 * it. All else stays as it is, to the byte. Parts of a line are offsets {from, to} into it. */

const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g; // where Python ends lines
const UNSEEN =
  /[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb]/g;
const JOINERS = /(?<![^\s\[\]#{}])[\u200c\u200d]+|[\u200c\u200d]+(?![^\s\[\]#{}])/g; // that join no letters
const TWINS = { "［": "[", "］": "]", "｛": "{", "｝": "}", "＃": "#", "＝": "=" };
const NAME = String.raw`[\p{L}\p{Nl}\p{No}][\p{L}\p{N}_'’-]{0,39}`;
const SPEECH = new RegExp(String.raw`(?<!\S)[@＠](${NAME})\s*(?:[(（]([^()（）]{0,60})[)）])?\s*[:：]`, "gu");
const MARK = /(?<!\S)[#＃](?!\S)/; // of a caption
const CHARACTER = /[{｛]\s*([^{}｛｝]{1,60}?)\s*[}｝]/g; // {subject}, or one of a cast
const MANNERS = { says: "says", speech: "says", thinks: "thinks", thought: "thinks", shouts: "shouts", shout: "shouts" };
Object.assign(MANNERS, { whispers: "whispers", whisper: "whispers" });

export const HOW = ["says", "thinks", "shouts", "whispers"];
export const WHERE = ["left", "middle", "right", "off"];
const EXCLUDES = { id: ["plain", "nc"], plain: ["id"], nc: ["id"] };
const SPELLED = { nc: "NC" }; // flags are in small letters otherwise

/** The lines of a script, and what ends each. Joined in turn they are the script again. */
export function splitLines(script) {
  return { texts: script.split(LINE_END), ends: [...(script.match(LINE_END) ?? []), ""] };
}

export function joinLines({ texts, ends }) {
  return texts.map((text, index) => text + ends[index]).join("");
}

/** Put a line before the one at `index`. Line ends stay where they are, so that the last line keeps having none. */
export function insertLine({ texts, ends }, index, text) {
  ends.splice(Math.min(index, ends.length - 1), 0, ends.find(Boolean) ?? "\n");
  texts.splice(index, 0, text);
}

export function removeLine({ texts, ends }, index) {
  if (texts.length === 1) texts[0] = "";
  else {
    texts.splice(index, 1);
    ends.splice(Math.min(index, ends.length - 2), 1);
  }
}

/** What a reader sees of a line: without signs that show nothing, `at[i]` being where its sign i stands in the line. */
function visible(line) {
  let seen = line;
  let at = null;
  for (const pattern of [UNSEEN, JOINERS]) {
    const kept = [];
    let end = 0;
    for (const { 0: gone, index } of seen.matchAll(pattern)) {
      for (; end < index; end++) kept.push(end);
      end = index + gone.length;
    }
    if (!end) continue;
    for (; end < seen.length; end++) kept.push(end);
    at = kept.map((place) => at?.[place] ?? place);
    seen = kept.map((place) => seen[place]).join("");
  }
  return { seen, at };
}

/** The parts of a line, each with its text; `caption` is null where there is no " # ". A `blank` line is no panel. */
export function readLine(line) {
  const { seen, at } = visible(line);
  const plain = seen.replace(/[［］｛｝＃＝]/g, (sign) => TWINS[sign]);
  const last = seen.trimEnd().length;
  /** A part without the blanks around it. */
  const part = (from, to) => {
    while (from < to && !seen[to - 1].trim()) to--;
    while (from < to && !seen[from].trim()) from++;
    const place = (index) => (at ? (at[index] ?? line.length) : index);
    const end = to > from ? place(to - 1) + 1 : place(from);
    return { from: place(from), to: end, text: seen.slice(from, to) };
  };
  const flags = [];
  let pos = seen.length - seen.trimStart().length;
  for (let end; plain[pos] === "[" && (end = plain.indexOf("]", pos)) > 0; ) {
    const [name, ...value] = seen.slice(pos + 1, end).normalize("NFKC").toLowerCase().split("=");
    flags.push({ ...part(pos, end + 1), name: name.trim(), value: value.length ? value.join("=").trim() : null });
    for (pos = end + 1; pos < last && !seen[pos].trim(); ) pos++;
  }
  const mark = plain.slice(pos, last).search(MARK);
  const end = mark < 0 ? last : pos + mark;
  const caption = mark < 0 ? null : { ...part(end + 1, last), mark: part(end, end + 1).from };
  const found = [...seen.slice(0, end).matchAll(SPEECH)].filter((match) => match.index >= pos);
  const speech = found.map((match, index) => {
    const words = part(match.index + match[0].length, found[index + 1]?.index ?? end);
    const told = match[2] ?? "";
    return { ...part(match.index, match.index + match[0].length), speaker: match[1], told, words, ...howAndWhere(told) };
  });
  return { blank: !last, flags, prompt: part(Math.min(pos, end), found[0]?.index ?? end), speech, caption };
}

function howAndWhere(told) {
  const words = told.toLowerCase().split(/[\s,，、]+/u).filter(Boolean);
  const rest = words.filter((word) => !(word in MANNERS) && !WHERE.includes(word));
  const how = MANNERS[words.findLast((word) => word in MANNERS)] ?? "says";
  return { how, where: words.findLast((word) => WHERE.includes(word)) ?? "middle", rest };
}

export const isName = (text) => new RegExp(`^${NAME}$`, "u").test(text);
const oneLine = (text) => text.split(LINE_END).join(" ").trim();
const splice = (line, { from, to }, text) => line.slice(0, from) + text + line.slice(to);

/** `text` in the place of a part, with blanks between it and its neighbours. */
function replacePart(line, part, text) {
  const before = part.from > 0 && /\S/.test(line[part.from - 1]) ? " " : "";
  const after = part.to < line.length && /\S/.test(line[part.to]) ? " " : "";
  return splice(line, part, before + text + after);
}

/** What a line shows. Where the text has the mark of a caption in it, what follows that becomes the caption. */
export function setPrompt(line, text) {
  const [shown, ...told] = oneLine(text).split(MARK);
  const changed = replacePart(line, readLine(line).prompt, shown.trim());
  return told.join("#").trim() ? setCaption(changed, told.join("#")) : changed;
}

/** A caption; an empty one goes with its mark, unless the mark tells that another # belongs to the prompt. */
export function setCaption(line, text) {
  const { caption, prompt } = readLine(line);
  if (!caption) return oneLine(text) ? `${line.trimEnd()} # ${oneLine(text)}` : line;
  if (oneLine(text) || /[#＃]/.test(prompt.text)) return replacePart(line, caption, oneLine(text));
  return (line.slice(0, caption.mark).trimEnd() + line.slice(caption.to)).trimEnd();
}

/** The characters that a text names in braces, each once. */
export function charactersIn(text) {
  const names = [...text.matchAll(CHARACTER)].map(([, name]) => name);
  return names.filter((name, index) => names.findIndex((other) => isOne(name, other)) === index);
}

export const isOne = (name, other) => name.toLowerCase() === other.toLowerCase();

/** Have a character in what a line shows, first of all, or not have it, nor the comma behind it. */
export function setCharacter(line, name, wanted) {
  const { prompt } = readLine(line);
  const without = prompt.text.replace(/[{｛]\s*([^{}｛｝]{1,60}?)\s*[}｝]\s*,?\s*/g, (all, other) => (isOne(name, other) ? "" : all));
  return replacePart(line, prompt, wanted ? `{${name}}${without ? `, ${without}` : ""}` : without);
}

export const flagOf = (parts, name) => parts.flags.find((flag) => flag.name === name);

/** Have a flag in a line, with a value or without, or not have it; those that it excludes go. */
export function setFlag(line, name, wanted, value = null) {
  const text = `[${SPELLED[name] ?? name}${value === null ? "" : `=${value}`}]`;
  const here = flagOf(readLine(line), name);
  if (here && wanted) return splice(line, here, text);
  for (const each of wanted ? (EXCLUDES[name] ?? []) : [name]) {
    const gone = flagOf(readLine(line), each);
    if (gone) line = splice(line, { from: gone.from, to: gone.to + line.slice(gone.to).search(/\S|$/) }, "");
  }
  if (!wanted) return line;
  const { flags } = readLine(line);
  const from = flags.at(-1)?.to ?? line.search(/\S|$/);
  return flags.length ? splice(line, { from, to: from }, ` ${text}`) : splice(line, { from, to: from }, `${text} `);
}

/** What is said. A mark at its end has no caption behind it, and goes. */
export function setWords(line, index, text) {
  const said = oneLine(text);
  const mark = said.search(MARK);
  return replacePart(line, readLine(line).speech[index].words, mark === said.length - 1 ? said.slice(0, mark).trim() : said);
}

/** Another speaker, manner (of HOW) or place (of WHERE) of what is said; what else stands in its brackets stays. */
export function setSpeaker(line, index, { speaker, how, where }) {
  const said = readLine(line).speech[index];
  const told = [...said.rest, ...(how === "says" ? [] : [how]), ...(where === "middle" ? [] : [where])].join(", ");
  return splice(line, said, `@${speaker}${told && ` (${told})`}:`);
}

export function addSpeech(line, speaker, how, words) {
  const { prompt, speech, caption } = readLine(line);
  const from = speech.at(-1)?.words.to ?? (caption ? prompt.to : line.trimEnd().length);
  return replacePart(line, { from, to: from }, `@${speaker}${how === "says" ? "" : ` (${how})`}: ${words}`);
}

export function removeSpeech(line, index) {
  const { from, words } = readLine(line).speech[index];
  const kept = line.slice(words.to);
  return line.slice(0, from).trimEnd() + (kept.trim() ? ` ${kept.trimStart()}` : kept);
}

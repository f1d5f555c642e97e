"""The canvas in other languages: names, labels, tooltips, what js/ says, and help pages.

    .dev/env/bin/python development/languages.py             # write what is written, and say what is not translated
    .dev/env/bin/python development/languages.py todo.json   # first take the translations that this file holds

The second leaves in the file what is still to be translated: fill in, run again.

A translation belongs to an English text, wherever that stands: `development/phrases/<language>.json` holds them by it.
When the English changes, it has none until it gets one, and the canvas shows English there. From the phrases
`locales/<language>/` is written, and the tables of the help pages `js/docs/<node>/<language>.md`. The rest of such a
page is translated by hand; its last line says of which English page, by `fingerprint`, without that page's tables.
"""

# ruff: noqa: E402
import json
import re
import runpy
import sys
import tempfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

runpy.run_path(str(Path(__file__).resolve().parents[1] / "workshop" / "load_pack.py"))

from storybooth.development.help_pages import PAGES, Info, Row, rows, with_table
from storybooth.workshop import ROOT, host
from storybooth.workshop.server import install_pack, serve

COMMAND = ".dev/env/bin/python development/languages.py"

LANGUAGES = ("ko", "ja", "zh")
"""As ComfyUI calls them; other Chinese than zh (zh-TW) is English here."""

LOCALES, PHRASES = ROOT / "locales", Path(__file__).parent / "phrases"

Nodes = dict[str, dict[str, Any]]
"""In the form of ComfyUI's nodeDefs.json: display_name, description, inputs and outputs with name and tooltip."""

HEADINGS = {
    "ko": (("입력", ("입력", "값", "하는 일")), ("출력", ("출력", "종류", "내용"))),
    "ja": (("入力", ("入力", "値", "はたらき")), ("出力", ("出力", "種類", "内容"))),
    "zh": (("输入", ("输入", "值", "作用")), ("输出", ("输出", "类型", "内容"))),
}
"""Of the tables of inputs and of outputs: the heading above, and the first row."""

_VALUES = {
    "ko": {
        "one of the list": "목록에서",
        "on": "켬",
        "off": "끔",
        "text": "글",
        "left": ", 생략 가능",
        "or": "; 또는 ",
    },
    "ja": {
        "one of the list": "一覧から",
        "on": "オン",
        "off": "オフ",
        "text": "テキスト",
        "left": "、省略可",
        "or": "、または ",
    },
    "zh": {"one of the list": "从列表中选", "on": "开", "off": "关", "text": "文本", "left": "，可省略", "or": "；或 "},
}
_FROM_ON = {"ko": r"; \1 이상", "ja": r"、\1 以上", "zh": r"；\1 或更大"}

_SAID = re.compile(r'\b(?:say|shape)\(\s*"((?:[^"\\]|\\.)*)"')
_TABLE = re.compile(r"^(## (?:Inputs|Outputs)\n)\n\|.*(?:\n\|.*)*\n", re.MULTILINE)
_TRANSLATION_OF = "<!-- translation of {} -->"


def english_nodes(object_info: Mapping[str, Info]) -> Nodes:
    """What the pack's nodes say, from ComfyUI's /object_info."""
    nodes: Nodes = {}
    for name, info in sorted(object_info.items()):
        if not name.startswith("StoryBooth"):
            continue
        specs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        inputs = {key: {"name": told["display_name"], "tooltip": told["tooltip"]} for key, (_, told) in specs.items()}
        outputs = {
            str(index): {"name": label, "tooltip": told}
            for index, (label, told) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))
        }
        nodes[name] = {"display_name": info["display_name"], "description": info["description"]}
        nodes[name] |= {"inputs": inputs, "outputs": outputs}
    return nodes


def texts_of(tree: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text of such a tree, with the keys that lead to it."""
    if isinstance(tree, str):
        yield place, tree
        return
    for key, branch in tree.items():
        yield from texts_of(branch, f"{place}.{key}" if place else key)


def said_in_scripts() -> list[str]:
    """What js/ says by `say("...")`, and what it reads in Python's words by `shape("...")`."""
    scripts = sorted((ROOT / "js").glob("*.js"))
    found = [json.loads(f'"{text}"') for script in scripts for text in _SAID.findall(script.read_text("utf-8"))]
    return list(dict.fromkeys(found))


def phrases(language: str) -> dict[str, str]:
    """The translations of this language, by their English."""
    return json.loads((PHRASES / f"{language}.json").read_text(encoding="utf-8"))


def untranslated(nodes: Nodes, known: Mapping[str, str]) -> dict[str, list[str]]:
    """Every English text without a translation among the `known`, with the places where it stands."""
    places: dict[str, list[str]] = {}
    for place, text in [*texts_of(nodes), *(("js", text) for text in said_in_scripts())]:
        if text and text not in known:
            places.setdefault(text, []).append(place)
    return places


def unused(nodes: Nodes, known: Mapping[str, str]) -> list[str]:
    """The `known` phrases whose English stands nowhere any more."""
    used = {text for _, text in texts_of(nodes)} | set(said_in_scripts())
    return [text for text in known if text not in used]


def written(object_info: Mapping[str, Info]) -> dict[Path, str]:
    """All files as they should be: locales, and of the help pages those that are there."""
    nodes = english_nodes(object_info)
    files = {}
    for language in LANGUAGES:
        known = phrases(language)
        said = {text: known[text] for text in said_in_scripts() if text in known}
        files[LOCALES / language / "nodeDefs.json"] = _as_json(_translated(nodes, known))
        files[LOCALES / language / "main.json"] = _as_json({"storyBooth": said})
        for name in nodes:
            page = PAGES / name / f"{language}.md"
            if page.is_file():
                files[page] = _page(page, object_info[name], language, known)
    return files


def _translated(tree: Any, known: Mapping[str, str]) -> Any:
    """The tree in another language; what has no translation is left out, so that the canvas shows English there."""
    if isinstance(tree, str):
        return known.get(tree)
    branches = {key: _translated(branch, known) for key, branch in tree.items()}
    return {key: branch for key, branch in branches.items() if branch}


def _page(page: Path, info: Info, language: str, known: Mapping[str, str]) -> str:
    """The page with its tables; what has no translation is English in them."""
    text = page.read_text(encoding="utf-8")
    for (heading, head), table in zip(HEADINGS[language], rows(info), strict=True):
        told: list[Row] = [
            (known.get(label, label), _value(value, language), known.get(tooltip, tooltip))
            for label, value, tooltip in table
        ]
        text = with_table(text, f"{page.parent.name}/{page.name}", heading, head, told)
    return text


def _value(value: str, language: str) -> str:
    """What a table says of an input's values, in another language."""
    words = _VALUES[language]
    if value in words:
        return words[value]
    value = value.replace(", may be left out", words["left"]).replace("; or ", words["or"])
    value = re.sub(r"; (\S+) to (\S+)$", r"; \1 – \2", value)
    return re.sub(r"; (\S+) or more$", _FROM_ON[language], value)


def fingerprint(page: str) -> str:
    """Eight signs made of what is written by hand on an English page."""
    return sha256(_TABLE.sub(r"\1", page).encode()).hexdigest()[:8]


def outdated_pages(nodes: Nodes) -> list[str]:
    """What is wrong with the help pages of these nodes, a sentence each."""
    told = []
    for name in nodes:
        sign = _TRANSLATION_OF.format(fingerprint((PAGES / f"{name}.md").read_text("utf-8")))
        for language in LANGUAGES:
            page = PAGES / name / f"{language}.md"
            if not page.is_file():
                told.append(f"js/docs/{name}/{language}.md is missing: translate js/docs/{name}.md. Last line: {sign}")
            elif page.read_text("utf-8").splitlines()[-1] != sign:
                told.append(f"js/docs/{name}.md has changed: js/docs/{name}/{language}.md must, too. Last line: {sign}")
    return told


def _as_json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Ask the newest ComfyUI for the English, write what is written, and tell what is left to do."""
    with tempfile.TemporaryDirectory() as base:
        install_pack(Path(base))
        with serve(host.obtain(host.NEWEST), Path(base)) as comfy:
            info = comfy.object_info()
    nodes = english_nodes(info)
    todo = Path(sys.argv[1]) if sys.argv[1:] else None
    filled = json.loads(todo.read_text(encoding="utf-8")) if todo and todo.is_file() else {}
    left: dict[str, dict[str, str]] = {}
    for language in LANGUAGES:
        new = {text: words[language] for text, words in filled.items() if words.get(language)}
        known = dict(sorted((phrases(language) | new).items()))
        gone = unused(nodes, known)
        print("".join(f"{language}: no longer said, taken out: {text}\n" for text in gone), end="")
        kept = {text: words for text, words in known.items() if text not in gone}
        _write(PHRASES / f"{language}.json", _as_json(kept))
        for text, places in untranslated(nodes, kept).items():
            print(f"{language}: not translated, at {', '.join(places)}: {text}")
            left.setdefault(text, {})[language] = ""
    for path, text in written(info).items():
        _write(path, text)
    print("".join(f"{sentence}\n" for sentence in outdated_pages(nodes)), end="")
    if todo:
        _write(todo, _as_json(left))


if __name__ == "__main__":
    main()

"""Watches what Python code removes, moves or overwrites, and reports what the code had not made itself."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_watches: list["_Watch"] = []  # an audit hook stays for good, so there is one for all


class _Watch:
    def __init__(self) -> None:
        self.made: set[Path] = set()
        self.lost: list[Path] = []

    def note(self, event: str, arguments: tuple) -> None:
        match event, arguments:
            case "os.mkdir", (path, *_):
                self.made.add(_whole(path))
            case "open", (str() | bytes() | os.PathLike() as path, _, int(flags)) if flags & (os.O_CREAT | os.O_TRUNC):
                if not _whole(path).exists():
                    self.made.add(_whole(path))
                elif flags & os.O_TRUNC:
                    self._lose(path)
            case "os.rename", (source, target, *_):
                self._lose(source)
                if _whole(target).is_file():
                    self._lose(target)
                if _whole(source) in self.made:
                    self.made.add(_whole(target))
            case "shutil.rmtree", (path, *_):
                self._lose(path)
            case "os.remove" | "os.rmdir", (path, -1):  # others are rmtree's
                self._lose(path)

    def _lose(self, path) -> None:
        path = _whole(path)
        if not {path, *path.parents} & self.made:
            self.lost.append(path)


def _whole(path) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100, the path of a link itself


@contextmanager
def watched() -> Iterator[list[Path]]:
    """Fills a list with what is removed, moved away or overwritten inside the block and was not made in it."""
    if not _hooked:
        sys.addaudithook(lambda event, arguments: [watch.note(event, arguments) for watch in _watches])
        _hooked.append(True)
    watch = _Watch()
    _watches.append(watch)
    try:
        yield watch.lost
    finally:
        _watches.remove(watch)


_hooked: list[bool] = []

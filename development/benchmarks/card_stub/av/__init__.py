"""Stands in for PyAV, which ComfyUI imports at load and only video nodes use."""

import sys
import types


class _Anything(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _n in ("container", "subtitles", "subtitles.stream", "video", "video.reformatter", "audio", "error"):
    sys.modules["av." + _n] = _Anything("av." + _n)


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return sys.modules.get("av." + name) or type(name, (), {})

"""Files in ComfyUI's output folder, named and told as Save Image names and tells its own.

`{"filename", "subfolder", "type": "output"}` under the key "images" is what clients of the API and workers in the cloud
look for, whatever kind of file it is.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import folder_paths

from ..files import SUFFIX, file_name, prepare_folder, write_whole

Saved = list[dict[str, str]]


def checked(filename_prefix: str) -> str:
    """A `filename_prefix` as it can be used. ValueError, naming it, for one that is none."""
    return str(file_name(filename_prefix.strip(), "file name (filename_prefix)")).removesuffix(SUFFIX)


def save(
    filename_prefix: str, suffix: str, writing: Iterable[Callable[[Path], object]], size: tuple[int, int] = (0, 0)
) -> Saved:
    """Let each of `writing` fill a file, under numbers that follow each other; return where they are.

    Nothing is ever overwritten, and each file is there whole or not at all.

    Args:
        filename_prefix: of `checked`; ComfyUI replaces %year%, %width% and the like in it.
        size: width and height of the picture, for %width% and %height%.

    Raises OSError naming the file that cannot be written; those before it are whole and stay.
    """
    output = folder_paths.get_output_directory()
    try:
        folder, name, number, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, output, *size)
    except OSError as error:
        raise OSError(
            f"file name (filename_prefix): the folder of {filename_prefix} cannot be made in {output} "
            f"({error.strerror}). Check permissions, or choose another name."
        ) from error
    prepare_folder(Path(folder))
    saved: Saved = []
    for index, write in enumerate(writing):
        while True:
            file = f"{name.replace('%batch_num%', str(index))}_{number:05}_{suffix}"
            number += 1
            try:
                if not Path(folder, file).exists():
                    write_whole(Path(folder, file), write, new=True)
                    break
            except FileExistsError:  # another server saves there, too
                continue
        saved.append({"filename": file, "subfolder": subfolder, "type": "output"})
    return saved


def told(saved: Saved) -> str:
    """Where files are, in a line for the canvas."""
    names = [str(Path(file["subfolder"], file["filename"])) for file in saved]
    folder = folder_paths.get_output_directory()
    size = sum(Path(folder, name).stat().st_size for name in names)
    listed = names[0] if len(names) == 1 else f"{names[0]} … {Path(names[-1]).name}"
    return f"saved {listed} ({size / 1e6:.1f} MB)"

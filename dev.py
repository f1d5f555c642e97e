"""Work on StoryBooth: `python dev.py demo`, `test` or `benchmark`. Each does all of its own set-up."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - older Pythons come this far and deserve an answer
    sys.exit("StoryBooth needs Python 3.11 or newer; this is Python " + sys.version.split()[0] + ".")

import argparse
import os
import runpy
import subprocess
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parent / "workshop" / "load_pack.py"))

from storybooth.workshop import PATIENT, ROOT, WorkshopError, environment, host  # noqa: E402

BENCHMARKS = ("attention", "full_story", "public", "quality", "recipe", "training", "training_memory", "two_characters")

TEST_HELP = """usage: dev.py test [PYTEST ARGUMENT ...]

Checks format and lint, then runs all tests, those that ComfyUI matters to on both releases. Arguments go to pytest:
  dev.py test tests/unit        only what needs no ComfyUI
  dev.py test -k 0.30.0 -x      one release, up to the first failure
  dev.py test --everything      on both releases even what one is enough for
  dev.py test -n0               in one process instead of one a core, four at most"""


def demo(photos: Path | None, subject: str | None) -> int:
    """Draw the Mini story of `photos`, which show what `subject` names, or of the sample photos, on a real ComfyUI."""
    if photos is not None and not photos.expanduser().exists():  # before anything is installed
        raise WorkshopError(f"--photos: there is no folder {photos}.")
    comfyui, python = _comfyui()
    if Path(sys.executable) != python:
        return subprocess.call([str(python), *sys.argv])
    from storybooth.workshop.demo import run  # needs what the environment holds

    run(comfyui, photos, subject)
    return 0


def test(pytest_arguments: list[str]) -> int:
    """Check format and lint, then run the tests on both releases of ComfyUI; the first failure decides."""
    from storybooth.development import TEST_REQUIREMENTS, browser

    hosts = {release: host.obtain(release) for release in host.RELEASES}
    environment.install("host", [hosts[host.NEWEST] / "requirements.txt", *environment.PACK_REQUIREMENTS])
    environment.install("tests", [TEST_REQUIREMENTS])
    browser.ensure()
    names_tests = any(Path(argument.split("::")[0]).exists() for argument in pytest_arguments)
    tests = pytest_arguments if names_tests else [*pytest_arguments, str(ROOT / "tests")]
    for module, *arguments in (
        ("ruff", "format", "--check", str(ROOT)),
        ("ruff", "check", str(ROOT)),
        ("pytest", "-n", str(min(4, os.cpu_count() or 1)), "--no-loadscope-reorder", *tests),
    ):
        code = subprocess.call([str(environment.PYTHON), "-m", module, *arguments], env=PATIENT | os.environ)
        if code != 0:
            return code
    return 0


def benchmark(name: str, arguments: list[str]) -> int:
    """Run one of development/benchmarks/ in ComfyUI's process, on the accelerator that torch knows, else on the CPU."""
    script = ROOT / "development" / "benchmarks" / f"{name}.py"
    comfyui, python = _comfyui()
    cuda = subprocess.call([str(python), "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]) == 0
    within = [str(ROOT / "development" / "within.py"), *(["--cuda"] if cuda else []), str(comfyui)]
    return subprocess.call([str(python), *within, str(script), *arguments])


def _comfyui() -> tuple[Path, Path]:
    """The ComfyUI to work with, the user's own or the newest release that we support, and its Python."""
    own = host.users_own()
    comfyui = own or host.obtain(host.NEWEST)
    return comfyui, environment.python_for(comfyui / "requirements.txt", own is not None)


def main() -> int:
    """Run one command; foreseeable trouble is told in words and makes the exit code 1."""
    parser = argparse.ArgumentParser(description="Work on StoryBooth. Set-up is automatic and lands in .dev/.")
    commands = parser.add_subparsers(dest="command", required=True)
    takes = commands.add_parser("demo", help="draw a story on a real ComfyUI, from photos to page").add_argument
    takes("--photos", type=Path, metavar="DIR", help="folder with photos of one subject; else the sample photos")
    takes("--subject", metavar="WORDS", help="what photos and story call it, a rare word and what it is")
    commands.add_parser("test", help="run all checks; further arguments go to pytest", add_help=False)
    names = commands.add_parser(
        "benchmark", help="measure speed, memory and quality; further arguments go to it", add_help=False
    )
    names.add_argument("name", nargs="?", choices=BENCHMARKS, help="which; NAME --help tells what it takes")
    arguments, rest = parser.parse_known_args()
    if arguments.command == "benchmark" and arguments.name is None:
        if {"-h", "--help"} & set(rest):
            names.print_help()
            return 0
        names.error(f"expected one of: {', '.join(BENCHMARKS)}")
    if arguments.command == "demo" and rest:
        parser.error(f"demo does not know {' '.join(rest)}")
    try:
        if arguments.command != "demo" and not (ROOT / "development").is_dir():
            raise WorkshopError(
                f"`dev.py {arguments.command}` needs the folders development and tests, which the Comfy registry's "
                "archive leaves out. Clone the repository to work on StoryBooth."
            )
        if arguments.command == "test" and {"-h", "--help"} & set(rest):
            print(TEST_HELP)
            return 0
        if arguments.command == "benchmark":
            return benchmark(arguments.name, rest)
        return test(rest) if arguments.command == "test" else demo(arguments.photos, arguments.subject)
    except WorkshopError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

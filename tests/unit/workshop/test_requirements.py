"""What the pack asks to be installed is the same for every installer, and never touches torch or numpy."""

import tomllib

from packaging.requirements import Requirement

from storybooth.workshop import ROOT

REQUIREMENTS = [Requirement(line) for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()]


def test_pyproject_and_requirements_are_in_step():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == [str(requirement) for requirement in REQUIREMENTS]


def test_only_lower_bounds_and_none_on_torch_and_numpy():
    assert {str(r.specifier)[:2] for r in REQUIREMENTS if r.specifier} == {">="}
    assert {r.name for r in REQUIREMENTS if not r.specifier} == {"torch", "numpy"}

"""The files that describe the project say the same."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import mixedext as mx

ROOT = Path(__file__).parent.parent


def setup() -> configparser.ConfigParser:
    out = configparser.ConfigParser()
    out.read(ROOT / "setup.cfg", encoding="utf-8")
    return out


def required() -> dict[str, str]:
    """Return the oldest version of every package that the package needs."""
    return dict(re.findall(r"(?m)^([\w-]+)>=([\d.]+)", setup()["options"]["install_requires"]))


def test_the_version_is_said_in_one_place_and_the_citation_has_it() -> None:
    assert setup()["metadata"]["version"] == "attr: mixedext.__version__"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (.*)$", citation) == [mx.__version__]
    newest = re.search(r"(?m)^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert newest is not None
    assert newest[1] == mx.__version__


def test_the_version_that_is_installed_is_that_of_the_package() -> None:
    try:
        installed = metadata.version("mixedext")
    except metadata.PackageNotFoundError:
        pytest.skip("mixedext runs from its folder and is not installed")
    assert installed == mx.__version__


def test_the_oldest_python_is_that_of_the_classifiers() -> None:
    versions = re.findall(r"Python :: 3\.(\d+)", setup()["metadata"]["classifiers"])
    assert setup()["options"]["python_requires"] == f">=3.{versions[0]}"
    assert f"Python 3.{versions[0]} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.subprocess
def test_the_oldest_versions_are_read_from_what_is_required() -> None:
    script = [sys.executable, str(ROOT / ".ci" / "oldest.py")]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert required()
    assert {f"{name}=={version}" for name, version in required().items()} <= set(lines)
    assert len(lines) == len({line.split("==")[0] for line in lines})


def test_versions_of_this_run_are_not_older_than_what_is_required() -> None:
    def numbers(version: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", version)[:3]]

    for name, oldest in required().items():
        assert numbers(metadata.version(name)) >= numbers(oldest), name

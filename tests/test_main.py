"""The command line: ``python -m mixedext``."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

import mixedext as mx
from mixedext.adapters.cli import main


def test_without_arguments_a_model_of_the_package_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert "Reaction ~ Days + (1 + Days | Subject)" in out
    assert "1743.6" in out
    assert not err


def test_a_formula_and_a_file_are_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sleep.csv"
    mx.datasets.load("sleepstudy").to_csv(path, index=False)
    assert main(["Reaction ~ Days + (1 | Subject)", str(path), "--ml"]) == 0
    assert "maximum likelihood" in capsys.readouterr().out


def test_a_table_is_printed_below_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--table", "anova"]) == 0
    out = capsys.readouterr().out
    assert out.index("Scaled residuals") < out.index("Type III analysis of variance")


def test_warnings_are_printed_beside_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["Reaction ~ Days + I(2*Days) + (1 | Subject)"]) == 0
    out, err = capsys.readouterr()
    assert err == (
        "mixedext: warning: fixed-effect column dropped (linearly dependent on others): I(2 * Days)\n"
    )
    assert "Scaled residuals" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Reaction ~ Day + (1 | Subject)"], "did you mean 'Days'"),
        (["Reaction ~ Days + (1 | Subject", "sleepstudy"], "not closed"),
        (["y ~ x + (1 | g)", "sleepstud"], "neither a file nor a data set; did you mean 'sleepstudy'"),
        (["y ~ x + (1 | g)", "nofile.csv"], "no file 'nofile.csv'"),
        (["y ~ x + (1 | g)", "data.xls"], "'.xls'"),
        (["y ~ x + (1 | g)", "https://example.org/data.csv"], "is an address"),
        (["y ~ x + (1 | g)", "a\0.csv"], "path of a file"),
        (["y ~ x + (1 | g)", ""], "neither a file nor a data set"),
        (["y ~ x + (1 | g)", str(Path(__file__).parent)], "neither a file nor a data set"),
        (["data.csv", "y ~ x + (1 | g)"], "the formula comes first"),
        (["", "sleepstudy"], "tilde"),
        (["--table", "anvoa"], "did you mean 'anova'"),
    ],
)
def test_an_error_is_one_message_and_a_status(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("mixedext: ")
    assert message in err


@pytest.mark.subprocess
def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-W", "error", "-m", "mixedext", "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(mx.__file__).parents[1]
    )
    assert done.stdout == f"mixedext {mx.__version__}\n"


@pytest.mark.subprocess
@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")
@pytest.mark.parametrize(("target", "status"), [("| true", 0), ("> /dev/full", 2)])
def test_output_that_cannot_be_written_ends_without_a_traceback(target: str, status: int) -> None:
    if target.endswith("/dev/full") and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    command = f"'{sys.executable}' -m mixedext {target}"
    script = f"{command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("mixedext: the summary cannot be written" if status else "")


def test_names_that_the_terminal_cannot_show_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sleep.csv"
    mx.datasets.load("sleepstudy").rename(columns={"Days": "tägé"}).to_csv(path, index=False)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["Reaction ~ tägé + (1 | Subject)", str(path)]) == 0
    terminal.seek(0)
    assert "t?g?" in terminal.read()

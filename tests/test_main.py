"""The command line: ``mixedext``, or ``python -m mixedext``."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mixedext as mx
from mixedext.adapters.cli import main, make_parser
from mixedext.adapters.cli.commands import COMMANDS

MODEL = "Reaction ~ Days + (Days | Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"
GUIDE = Path(__file__).parent.parent / "docs" / "command_line.md"


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    action = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def examples() -> list[str]:
    """Return the examples of the guide, then those of the help texts that need no files of the reader."""
    texts = [
        text for parser in (make_parser(), *parsers().values()) for text in (parser.epilog or "").splitlines()
    ]
    helped = [text.strip() for text in texts if text.strip().startswith("mixedext ")]
    guide = re.findall(r"(?m)^\$ (mixedext .*)$", GUIDE.read_text(encoding="utf-8"))
    return guide + [text for text in helped if "imm10" not in text and "data.csv" not in text]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to work in, with rows of sleepstudy and of a new subject."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text("Days,Subject\n0,308\n9,308\n5,1000\n", encoding="utf-8")
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Return what a command prints."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert not err
    return out


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
    assert done.stderr.startswith("mixedext: the report cannot be written" if status else "")


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


@pytest.mark.slow
def test_examples_of_the_guide_and_of_the_help_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert len(examples()) > 12
    for example in examples():
        assert main(shlex.split(example)[1:]) == 0, example
        assert capsys.readouterr().err == "", example
    assert {"fit.pickle", "fit.txt", "page.png", "means.csv", "fit.tex"} <= {p.name for p in folder.iterdir()}
    assert (folder / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(parsers()) == set(COMMANDS)
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    out = capsys.readouterr().out
    assert f"examples:\n  mixedext {command} " in out
    assert "Exit status: 0 all is well" in out


def test_a_saved_fit_predicts_the_rows_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "fit", MODEL, "sleepstudy", "--save", "fit.pickle")
    result = mx.lmer(MODEL, mx.datasets.load("sleepstudy")).fit()
    new = mx.read_data(folder / "new.csv")
    lines = printed(capsys, "predict", "fit.pickle", "new.csv").splitlines()
    assert lines[0] == "mean"
    np.testing.assert_allclose([float(x) for x in lines[1:]], result.predict(new), rtol=1e-12)
    chosen = ("--random-effects", "Subject", "--new-levels", "marginal", "--intervals", "--level", "0.9")
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "predict", "fit.pickle", "new.csv", *chosen))))
    expected = result.get_prediction(new, ["Subject"], "marginal").summary_frame(alpha=0.1)
    assert list(rows[0]) == list(expected.columns)
    np.testing.assert_allclose([[float(x) for x in r.values()] for r in rows], expected, rtol=1e-9)


def test_numbers_of_a_fit_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    out = json.loads(printed(capsys, "fit", INTERCEPTS, "sleepstudy", "--format", "json", "--table", "anova"))
    result = mx.lmer(INTERCEPTS, mx.datasets.load("sleepstudy")).fit()
    assert out["criterion"] == pytest.approx(result.objective, rel=1e-12)
    assert out["tables"]["anova"][0]["name"] == "Days"
    assert out["tables"]["anova"][0]["statistic"] == pytest.approx(mx.anova(result)["statistic"].iloc[0])


def test_tables_come_in_each_format(capsys: pytest.CaptureFixture[str]) -> None:
    both = ("compare", MODEL, INTERCEPTS, "sleepstudy", "--format")
    assert json.loads(printed(capsys, *both, "json"))[0]["name"] == MODEL
    assert printed(capsys, *both, "csv").startswith(
        f"name,n_params,llf,aic,aicc,bic,delta_aic,weight\n{MODEL},6,"
    )
    assert "<table" in printed(capsys, *both, "html")
    assert "| Reaction \\~ Days + (Days \\| Subject) |         6 |" in printed(capsys, *both, "markdown")
    assert r"Reaction \textasciitilde{} Days + (Days \textbar{} Subject) & 6 &" in printed(
        capsys, *both, "latex"
    )
    assert r"[Reaction \~ Days \+ (Days | Subject)], [6]," in printed(capsys, *both, "typst")
    assert printed(capsys, *both, "text").startswith("Models by AIC (REML)\n")


@pytest.mark.parametrize("kind", ["markdown", "html", "latex", "typst"])
def test_summaries_come_in_each_format(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "fit", INTERCEPTS, "sleepstudy", "--format", kind, "--table", "anova")
    result = mx.lmer(INTERCEPTS, mx.datasets.load("sleepstudy")).fit()
    assert out.startswith(getattr(result.summary(), f"as_{kind}")())
    assert "Type III analysis of variance" in out


def test_several_formulas_are_tested_against_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "anova", INTERCEPTS, MODEL, "sleepstudy")
    assert re.search(r"42\.139", out)
    assert "refitted by maximum likelihood" in out


def test_rows_weights_and_offsets_are_those_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    sleep = mx.datasets.load("sleepstudy")
    options = ("--subset", "Days > 1", "--weights", "Days", "--offset", "Days", "--ml", "--format", "json")
    out = json.loads(printed(capsys, "fit", INTERCEPTS, "sleepstudy", *options))
    result = mx.lmer(INTERCEPTS, sleep, subset="Days > 1", weights="Days", offset="Days").fit(reml=False)
    assert out["criterion"] == pytest.approx(result.objective, rel=1e-12)


def test_a_fit_that_has_not_converged_is_printed_and_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = mx.LinearMixedModel.fit
    monkeypatch.setattr(
        mx.LinearMixedModel, "fit", lambda self, reml: sound(self, reml, maxiter=1, tol=1e-30)
    )
    assert main(["fit", MODEL, "sleepstudy"]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"Converged: +no", out)
    assert err.startswith("mixedext: warning: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fits"], "no command 'fits'; did you mean 'fit'"),
        (["describe", "nofile.dta"], "no file 'nofile.dta'"),
        (["describe", "cut.dta"], "cannot read 'cut.dta'"),
        (["describe", "latin.csv"], "'latin.csv'"),
        (["compare", MODEL, "sleepstudy"], "two formulas or more"),
        (["compare", "sleepstudy", MODEL], "the formula comes first"),
        (["compare", MODEL, MODEL, "sleepstudy"], "given twice"),
        (["anova", MODEL, INTERCEPTS, "sleepstudy", "--type", "2"], "type"),
        (["fit", MODEL, "sleepstudy", "--nagq", "2"], "--family"),
        (["fit", MODEL, "sleepstudy", "--ml", "--family", "gaussian"], "--ml is for linear models"),
        (["fit", MODEL, "sleepstudy", "--family", "binomal"], "did you mean 'binomial'"),
        (["fit", MODEL, "sleepstudy", "--level", "95"], "between 0 and 1"),
        (["fit", MODEL, "sleepstudy", "--weights", "Weight"], "'Weight'"),
        (["fit", MODEL, "sleepstudy", "--save", "none/fit.pickle"], "no folder 'none'"),
        (["fit", MODEL, "sleepstudy", "--plot", "none/page.png"], "no folder 'none'"),
        (["fit", MODEL, "sleepstudy", "--output", "none/fit.txt"], "cannot be written"),
        (["predict", "nofile.pickle", "new.csv"], "'nofile.pickle': No such file"),
        (["predict", "new.csv", "new.csv"], "no whole pickle"),
        (["predict", "fit.pickle", "cbpp"], "column 'Days' is not in the data"),
        (["predict", "fit.pickle", "new.csv", "--random-effects", "all"], "1000"),
        (["predict", "fit.pickle", "new.csv", "--random-effects", "subject"], "'subject'"),
    ],
)
def test_a_mistake_is_one_message_and_a_status(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "fit.pickle" in arguments:
        printed(capsys, "fit", MODEL, "sleepstudy", "--save", "fit.pickle")
    (folder / "cut.dta").write_bytes(b"<stata_dta><header><release>118</release>")
    (folder / "latin.csv").write_bytes("y,größe\n1,2\n".encode("latin-1"))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("mixedext: ")
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", MODEL, "sleepstudy", "--fromat", "json"], "did you mean '--format'"),
        (["fit", MODEL, "sleepstudy", "--format", "pdf"], "invalid choice: 'pdf'"),
        (["fit", MODEL, "sleepstudy", "--nagq", "two"], "invalid int value: 'two'"),
        (["describe"], "required: FILE"),
    ],
)
def test_options_that_there_are_not_end_with_a_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("mixedext: ")
    assert message in err


def test_many_files_are_read_batch_by_batch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    sleep = mx.datasets.load("sleepstudy")
    (folder / "rows").mkdir()
    for number in range(3):
        sleep.iloc[60 * number : 60 * (number + 1)].to_parquet(folder / "rows" / f"{number}.parquet")
    assert main(["fit", MODEL, "sleepstudy"]) == 0
    expected = capsys.readouterr().out
    for files in ("rows/*.parquet", "rows"):
        assert main(["fit", MODEL, files]) == 0
        assert capsys.readouterr().out == expected
    assert main(["anova", INTERCEPTS, MODEL, "rows"]) == 0
    streamed = capsys.readouterr().out
    assert main(["anova", INTERCEPTS, MODEL, "sleepstudy"]) == 0
    assert capsys.readouterr().out == streamed
    assert main(["fit", MODEL, "nothing/*.parquet"]) == 2
    assert "nothing/*.parquet" in capsys.readouterr().err

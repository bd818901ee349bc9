"""One model fitted by several optimisers from several starts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.core.search.criterion import Criterion
from mixedext.diagnostics.optimizers import SCIPY, search
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit

OPTIMIZERS = {"newton", "L-BFGS-B", "Nelder-Mead", "Powell"}


def numbers(table: pd.DataFrame, prefix: str) -> np.ndarray:
    return table.filter(like=prefix).to_numpy()


def test_all_optimisers_find_the_optimum_of_a_linear_model() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    table = mx.allfit(result, rng=1)
    assert set(table["optimizer"]) == OPTIMIZERS
    assert list(table["start"]).count("1") == 4
    assert table["objective"].to_numpy() == pytest.approx(result.objective, abs=1e-7)
    assert (table["difference"] >= 0).all()
    assert table["converged"].all()
    assert (table["seconds"] > 0).all()
    assert (table["evaluations"] > 0).all()
    assert np.abs(numbers(table, "theta_") - result.theta).max() < 1e-4
    assert np.abs(numbers(table, "fixef_") - result.params.to_numpy()).max() < 1e-4
    (note,) = table.attrs["notes"]
    assert note.startswith("All 10 fits converged and agree")
    assert note in repr(table)


@pytest.mark.parametrize("nagq", [0, 1, 3])
def test_all_optimisers_find_the_optimum_of_a_generalized_model(nagq: int) -> None:
    result = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", nagq=nagq)
    table = mx.allfit(result, ["newton", "L-BFGS-B"], starts=1, rng=1)
    assert table["objective"].to_numpy() == pytest.approx(result.objective, abs=1e-6)
    assert numbers(table, "theta_") == pytest.approx(np.tile(result.theta, (len(table), 1)), rel=1e-4)
    assert np.abs(numbers(table, "fixef_") - result.params.to_numpy()).max() < 1e-3


def test_methods_without_derivatives_minimise_over_the_dispersion_too() -> None:
    result = fit_generalized("TICKS ~ cHEIGHT + (1 | LOCATION)", "grouseticks", "negative-binomial", "log")
    table = mx.allfit(result, ["L-BFGS-B", "Nelder-Mead"])
    assert table["objective"].to_numpy() == pytest.approx(result.objective, abs=1e-5)


def test_crossed_factors_weights_and_offsets_take_part() -> None:
    result = fit_linear("Reaction ~ Days + (Days || Subject)", "sleepstudy_ext", weights="w", offset="off")
    table = mx.allfit(result, ["newton", "L-BFGS-B", "Powell"], starts=2, rng=3)
    assert table["objective"].to_numpy() == pytest.approx(result.objective, abs=1e-6)
    crossed = fit_linear("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    table = mx.allfit(crossed, starts=0)
    assert len(table) == 7
    assert table["objective"].to_numpy() == pytest.approx(crossed.objective, abs=1e-6)
    assert {"theta_plate.Intercept", "theta_sample.Intercept", "fixef_Intercept"} <= set(table.columns)


def test_a_singular_optimum_is_found_by_all() -> None:
    result = quiet_fit("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2"))
    table = mx.allfit(result, rng=1)
    assert table["objective"].to_numpy() == pytest.approx(result.objective, abs=1e-6)
    assert numbers(table[table["optimizer"] == "newton"], "theta_").max() == 0.0


def test_a_model_is_fitted_with_the_options_of_its_fit() -> None:
    model = mx.lmer("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy"))
    table = mx.allfit(model, "newton", starts=0, reml=False)
    assert table["objective"].to_numpy() == pytest.approx(model.fit(reml=False).objective, abs=1e-8)


def test_random_starts_follow_the_seed() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    first, second, other = (mx.allfit(result, "newton", rng=seed) for seed in (1, 1, 2))
    columns = ["start", "objective", "evaluations"]
    pd.testing.assert_frame_equal(pd.DataFrame(first[columns]), pd.DataFrame(second[columns]))
    assert list(first["evaluations"]) != list(other["evaluations"])


def test_what_stops_early_is_named() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    table = mx.allfit(result, ["newton", "Nelder-Mead"], starts=0, max_evaluations=10)
    last = table.iloc[-1]
    assert last["optimizer"] == "Nelder-Mead"
    assert not last["converged"]
    assert last["difference"] > 1e-3
    notes = table.attrs["notes"]
    assert notes[0].startswith("4 of 5 fits end at the best objective")
    assert notes[1].startswith("Nelder-Mead from 1 ends ")
    assert "did not converge" in notes[1]


@pytest.mark.parametrize("name", SCIPY)
def test_points_where_there_is_no_criterion_are_turned_down(name: str) -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy").fitted
    own = result.method.criterion(result.problem, result.estimates)

    def evaluate(point: np.ndarray) -> Any:
        if point[0] > 1.2 * own.optimum[0]:
            raise np.linalg.LinAlgError("out of range")
        return own.evaluate(point)

    broken = Criterion(own.parameters, evaluate, own.rest, own.optimum, own.coefficients)
    found = search(broken, name, 0.9 * own.optimum, 2000)
    assert found.objective == pytest.approx(result.objective, abs=1e-5)


def test_the_searches_leave_the_fit_as_it_is() -> None:
    model = mx.glmer("TICKS ~ cHEIGHT + (1 | BROOD)", load_data("grouseticks"), family="poisson")
    result = model.fit()
    before = result.params.copy(), result.bse.copy()
    mx.allfit(result, "L-BFGS-B")
    pd.testing.assert_series_equal(result.params, before[0])
    again = model.fit()
    assert again.optimizer.evaluations == result.optimizer.evaluations
    assert again.bse.to_numpy() == pytest.approx(before[1].to_numpy(), rel=1e-9)


def test_fits_of_one_model_do_not_warn_once_more() -> None:
    result = quiet_fit("Yield ~ 1 + (1 | Batch)", load_data("Dyestuff2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.allfit(result, rng=1)


def test_wrong_options_are_refused() -> None:
    result = fit_linear("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    with pytest.raises(mx.OptionError, match=r"optimizers must be one of 'newton'.*not 'bobyqa'"):
        mx.allfit(result, ["bobyqa"])
    with pytest.raises(mx.OptionError, match="optimizers must name at least one"):
        mx.allfit(result, [])
    with pytest.raises(mx.OptionError, match="starts must be a whole number"):
        mx.allfit(result, starts=-1)
    with pytest.raises(mx.OptionError, match="max_evaluations must be a whole number from 1"):
        mx.allfit(result, max_evaluations=0)
    with pytest.raises(mx.OptionError, match="reml cannot be given with them"):
        mx.allfit(result, reml=False)
    with pytest.raises(mx.DataError, match="allfit takes the results of mixed models"):
        mx.allfit("model")


def test_without_data_it_says_so() -> None:
    result = mx.lmer("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy")).fit()
    result.remove_data()
    with pytest.raises(mx.DataError, match="the data of this model were removed"):
        mx.allfit(result)

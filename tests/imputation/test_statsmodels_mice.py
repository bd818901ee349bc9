"""Our models in statsmodels' multiple imputation: as the model of the analysis."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.imputation.mice import MICE, MICEData

import mixedext as mx
from tests.conftest import load_data


@cache
def incomplete() -> pd.DataFrame:
    """Return numbers alone, as MICEData wants them: some of reaction times and hours missing, two groups."""
    rng = np.random.default_rng(1)
    sleep = load_data("sleepstudy")
    subject = sleep["Subject"].astype(str).astype(int)
    frame = pd.DataFrame(
        {
            "reaction": sleep["Reaction"],
            "days": sleep["Days"].astype(float),
            "subject": subject,
            "room": np.arange(len(sleep)) % 7,
        }
    )
    frame["hours"] = 8 - 0.01 * frame["reaction"] + rng.normal(0, 0.5, len(frame))
    frame["slow"] = (frame["reaction"] > 300).astype(float)
    for column, share in (("reaction", 0.1), ("hours", 0.2)):
        frame.loc[rng.choice(len(frame), int(share * len(frame)), replace=False), column] = np.nan
    return frame


@pytest.mark.parametrize(
    "formula",
    [
        "reaction ~ days + (1 | subject)",
        "reaction ~ days + hours + (days | subject)",
        "reaction ~ days + (1 | subject) + (1 | room)",
        "np.log(reaction) ~ days + (1 | subject)",
    ],
)
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_linear_models_are_fitted_to_the_data_sets_and_pooled(formula):
    mice = MICE(formula, mx.LinearMixedModel, MICEData(incomplete(), rng=1), n_skip=0)
    result = mice.fit(n_burnin=1, n_imputations=4)
    assert len(mice.results_list) == 4
    ours = mx.pool(mice.results_list)
    np.testing.assert_allclose(result.params, ours.params)
    np.testing.assert_allclose(result.bse, ours.bse)
    np.testing.assert_allclose(result.frac_miss_info, ours.lambda_)
    assert "LinearMixedModel" in result.summary().as_text()
    assert result.exog_names == mice.results_list[0].model.exog_names


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_generalized_models_are_pooled_too():
    family = sm.families.Binomial()
    mice = MICE(
        "slow ~ hours + (1 | subject)",
        mx.GeneralizedLinearMixedModel,
        MICEData(incomplete(), rng=1),
        n_skip=0,
        init_kwds={"family": family},
        fit_kwds={"nagq": 3},
    )
    result = mice.fit(n_burnin=1, n_imputations=3)
    ours = mx.pool(mice.results_list)
    np.testing.assert_allclose(result.params, ours.params)
    np.testing.assert_allclose(result.bse, ours.bse)
    assert mice.results_list[0].method == "adaptive quadrature, 3 nodes"


def test_data_sets_and_fits_can_be_had_one_by_one():
    mice = MICE("reaction ~ days + (1 | subject)", mx.LinearMixedModel, MICEData(incomplete(), rng=1))
    results = [mice.next_sample() for _ in range(2)]
    assert mx.pool(results).m == 2


@pytest.mark.parametrize(
    "model",
    [
        lambda frame: mx.lmer("reaction ~ days + (1 | subject)", frame),
        lambda frame: mx.glmer("slow ~ days + (1 | subject)", frame, family="binomial"),
    ],
)
def test_coefficients_to_start_from_change_nothing(model):
    result = model(incomplete()).fit()
    again = model(incomplete()).fit(start_params=result.params)
    np.testing.assert_array_equal(again.params, result.params)
    assert again.objective == result.objective


# ------------------------------------------------------------------------------------------------- imputers


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("hours ~ days + (1 | subject)", None),
        ("reaction ~ days + hours + (days | subject) + (1 | room)", None),
        ("slow ~ days + (1 | subject)", None),
    ],
)
def test_mixed_models_impute_in_statsmodels_data(formula, family):
    frame = incomplete().copy()
    frame["slow"] = frame["slow"].where(frame.index % 6 != 0)
    name = formula.split(" ")[0]
    data = MICEData(frame, rng=1)
    data.set_imputer(k_pmm=3, **mx.imputer(formula, data, family=family))
    first = data.data[name].copy()
    data.update_all(2)
    gone = frame[name].isna()
    pd.testing.assert_series_equal(data.data[name][~gone], frame[name][~gone])
    assert data.data[name].isin(frame[name].dropna()).all()
    assert not data.data[name].equals(first)
    again = MICEData(frame, rng=1)
    again.set_imputer(k_pmm=3, **mx.imputer(formula, again, family=family))
    again.update_all(2)
    pd.testing.assert_frame_equal(again.data, data.data)


def test_imputed_values_are_those_of_their_groups():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(20), 10)
    frame = pd.DataFrame(
        {"x": 5.0 * rng.normal(size=20)[g] + rng.normal(size=200), "w": rng.normal(size=200), "g": g}
    )
    truth = frame["x"].copy()
    frame.loc[rng.random(200) < 0.3, "x"] = np.nan
    data = MICEData(frame, rng=1)
    data.set_imputer(k_pmm=3, **mx.imputer("x ~ w + (1 | g)", data))
    data.update_all(1)
    gone = frame["x"].isna()
    assert np.std((data.data["x"] - truth)[gone]) < 0.5 * np.std(truth)


def test_an_imputer_goes_with_a_model_of_the_analysis():
    data = MICEData(incomplete(), rng=1)
    data.set_imputer(**mx.imputer("hours ~ days + reaction + (1 | subject)", data))
    mice = MICE("reaction ~ hours + (1 | subject)", mx.LinearMixedModel, data, n_skip=0)
    assert mice.fit(n_burnin=1, n_imputations=2).params.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda data: ("hours ~ days + (1 | subject)", data.data), r"there is impute\(\)"),
        (lambda data: ("days + (1 | subject)", data), "with the variable on its left side"),
        (lambda data: ("hour ~ days + (1 | subject)", data), "no column 'hour'"),
        (lambda data: ("days ~ hours + (1 | subject)", data), "'days' has no missing values"),
        (lambda data: ("hours ~ days", data), "statsmodels' own models do"),
    ],
)
def test_imputers_of_something_else_are_refused(arguments, message):
    data = MICEData(incomplete(), rng=1)
    with pytest.raises(mx.DataError, match=message):
        mx.imputer(*arguments(data))


def test_what_an_imputer_cannot_do_is_said():
    data = MICEData(incomplete(), rng=1)
    given = mx.imputer("hours ~ days + (1 | subject)", data)
    data.set_imputer(**given, perturbation_method="boot")
    with pytest.raises(mx.OptionError, match="takes 'gaussian'"):
        data.update("hours")
    data.set_imputer(**given, perturbation_method="gaussian", fit_kwds={"reml": False})
    with pytest.raises(mx.OptionError, match="fit_kwds has reml"):
        data.update("hours")
    data = MICEData(incomplete(), rng=1)
    data.set_imputer("hours", "days + (1 | subject)", model_class=mx.LinearMixedModel)
    with pytest.raises(mx.DataError, match=r"set_imputer\(\*\*mixedext.imputer\(formula, data\)\)"):
        data.update("hours")

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

"""What a formula learned of the data is saved with the model, so that it predicts new rows without data."""

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.learned import packed_builders


def _data(seed=5, n=240):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "g": rng.integers(0, 12, n),
            "x": rng.uniform(1, 3, n),
            "f": rng.choice(list("abc"), n),
            "h": rng.choice([3, 5, 9], n),
            "odd name": rng.random(n),
        }
    )
    return data.assign(y=data.x + rng.normal(size=n) + rng.normal(size=12)[data.g] * data.x)


def twice(values):
    return 2 * values


@pytest.fixture(scope="module")
def data():
    return _data()


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ poly(x, 2) + f + (1 | g)",
        "y ~ scale(x) * f + (0 + scale(x) | factor(g))",
        "y ~ bs(x, df=5) + C(h) + (1 | g:h)",
        "y ~ ns(x, 4) + np.log(x) + (1 | f:factor(g))",
        "y ~ center(x, by=h) + mean(x, by=g) + (1 | g)",
        "y ~ twice(x) + C(f, Sum) + (1 | g)",
        "y ~ f:C(h) + I(x**2) + offset(x - x.mean()) + (1 | g)",
        "y ~ log(x) + factor(h) + x^2 + `odd name` + (1 | g)",
        "y ~ ifelse(x > 2, 'u', 'v') + I(x > x.mean()) + (1 | g)",
    ],
)
def test_a_loaded_fit_without_data_predicts_new_rows_as_before(data, formula):
    result = mx.lmer(formula, data).fit(reml=False)
    new = data.sample(9, random_state=3)
    expected = result.predict(new, random_effects="all")
    result.remove_data()
    loaded = pickle.loads(pickle.dumps(result))
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(loaded))))  # saved before it is used
    for other in (loaded, again):
        np.testing.assert_array_equal(other.predict(new, random_effects="all"), expected)


def test_a_new_level_is_refused_after_loading(data):
    result = mx.lmer("y ~ f + (1 | g)", data).fit()
    result.remove_data()
    loaded = pickle.loads(pickle.dumps(result))
    with pytest.raises(mx.DataError, match=r"'z'.*not among the levels"):
        loaded.predict(data.head(3).assign(f="z"))


def test_generalized_fits_are_saved_alike(data):
    counts = data.assign(y=np.round(np.exp(data.y / 3)).astype(int))
    result = mx.glmer("y ~ poly(x, 2) + f + (1 | g)", counts, family="poisson").fit()
    expected = result.predict(data.head(7))
    result.remove_data()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(result)).predict(data.head(7)), expected)


def test_a_function_that_cannot_be_saved_is_named_when_it_is_needed(data):
    def local(values):
        return values + 1

    assert local(1) == 2
    result = mx.lmer("y ~ local(x) + f + (1 | g)", data).fit()
    assert packed_builders(result.model.builders()) is None
    result.remove_data()
    loaded = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(loaded.params, result.params)
    with pytest.raises(mx.DataError, match="functions that the formula uses in a module"):
        loaded.predict(data.head(3))


def test_bytes_that_cannot_be_read_here_are_learned_again_from_the_data(data, monkeypatch):
    result = mx.lmer("y ~ twice(x) + f + (1 | g)", data).fit()
    expected = result.predict(data.head(5))
    loaded = pickle.loads(pickle.dumps(result))
    loaded.model._learned = b"of another version"
    np.testing.assert_allclose(loaded.predict(data.head(5)), expected, rtol=1e-12)


def test_nothing_of_the_rows_is_in_what_is_saved(data):
    small, large = (mx.lmer("y ~ poly(x, 2) * f + (1 | g)", d).fit() for d in (data, _data(n=24000)))
    sizes = [len(packed_builders(r.model.builders())) for r in (small, large)]
    assert abs(sizes[1] - sizes[0]) < 100

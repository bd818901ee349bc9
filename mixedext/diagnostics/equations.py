"""Parts of the penalised equations of a fit by the names of lme4's ``getME``.

With y the response less the offset, W the weights (in generalized models the working weights at the modes)
and b = Λu, the modes solve (Bates, Maechler, Bolker & Walker 2015, eqs. 14 and 17)

    [Λ'Z'WZΛ + I   Λ'Z'WX] [u]   [L    0 ] [L'  RZX]
    [X'WZΛ         X'WX  ] [β],  [RZX' RX'] [0   RX ]

the latter being the factors of the matrix; in generalized models the fixed effects are those of the
approximated likelihood, and u alone solves its part at them. Columns of Z stand in lme4's order: term by
term, level by level, effect by effect. L is the factor in this order, where lme4's is permuted to have fewer
elements: LL' and L⁻¹ differ from lme4's by that permutation, log|L| does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from mixedext.core.covariance.entries import FreeEntries
from mixedext.core.estimates import GeneralizedEstimates
from mixedext.diagnostics.residuals import conditional_mean
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.options import nearest

Array = NDArray[np.float64]


def get_me(fit: FittedModel, name: str | Sequence[str]) -> Any:
    """Return a part of the equations by its name, several as a dict; `RandomEffects.getME` says more.

    Raises
    ------
    OptionError
        For a name that means nothing, or nothing in this model.
    DataError
        If the data were removed, for parts that need rows.
    """
    if not isinstance(name, str) and (
        not isinstance(name, Sequence) or not all(isinstance(one, str) for one in name)
    ):
        raise OptionError(f"getME takes the name of a part or a list of names, not {name!r}")
    equations = _Equations(fit)
    return equations.part(name) if isinstance(name, str) else {one: equations.part(one) for one in name}


class _Equations:
    """The equations of one fit; each part is made when it is asked for."""

    def __init__(self, fit: FittedModel):
        self.fit, self.terms = fit, fit.labels.terms

    def part(self, name: str) -> Any:
        """Return a part by its name."""
        if name not in PARTS:
            said = _INSTEAD.get(name)
            raise OptionError(
                f"getME has no part {name!r}{f': {said}' if said else nearest(name, PARTS)}"
                f" (it has: {', '.join(PARTS)})"
            )
        return PARTS[name](self)

    # --------------------------------------------------------------------------------------- random effects

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Number of levels and of effects of each term."""
        return [(len(t.levels), len(t.names)) for t in self.terms]

    @cached_property
    def pointers(self) -> NDArray[np.intp]:
        """Where the columns of each term begin in Z, and their number."""
        return np.concatenate([[0], np.cumsum([j * q for j, q in self.shapes])]).astype(np.intp)

    @cached_property
    def triangles(self) -> list[Array]:
        """The relative factor of each term."""
        estimates = self.fit.estimates
        return [
            structure.factor(theta)
            for structure, theta in zip(estimates.structures, estimates.theta_by_term(), strict=True)
        ]

    @cached_property
    def factor(self) -> Any:
        """Λ (q, q)."""
        blocks = [
            sparse.kron(sparse.identity(levels), sparse.csc_matrix(triangle), "csc")
            for triangle, (levels, _) in zip(self.triangles, self.shapes, strict=True)
        ]
        return sparse.block_diag(blocks, format="csc")

    @cached_property
    def places(self) -> Any:
        """The elements of Λ' that θ stands at, as a matrix of 1 + their place in θ."""
        blocks, start = [], 0
        for structure, (levels, width) in zip(self.fit.estimates.structures, self.shapes, strict=True):
            if not isinstance(structure, FreeEntries):
                raise OptionError(
                    "Lind and lower are of terms whose factor has the elements of theta themselves, and one "
                    f"is of the structure {structure.name!r}"
                )
            block = np.zeros((width, width))
            block[structure.positions] = np.arange(start, start + structure.size) + 1
            blocks.append(sparse.kron(sparse.identity(levels), sparse.csc_matrix(block.T), "csc"))
            start += structure.size
        return sparse.block_diag(blocks, format="csc")

    def theta_places(self) -> NDArray[np.intp]:
        """Which θ each stored element of Λ' is, column by column, from 0."""
        return self.places.data.astype(np.intp) - 1

    def transposed_factor(self) -> Any:
        """Λ', with an element stored for each that θ stands at."""
        if not all(isinstance(s, FreeEntries) for s in self.fit.estimates.structures):
            return self.factor.T.tocsc()
        out = self.places.copy()
        out.data = self.fit.theta[self.theta_places()]
        return out

    def lower(self) -> Array:
        """Lower bounds of θ: 0 for the diagonal of factors, else −∞."""
        _ = self.places
        return np.concatenate(
            [np.where(np.equal(*s.positions), 0.0, -np.inf) for s in self.fit.estimates.structures]  # type: ignore[attr-defined]
        )

    @cached_property
    def modes(self) -> Array:
        """b (q,)."""
        taken = dict.fromkeys(self.fit.labels.groups, 0)
        out = []
        for term in self.terms:
            start = taken[term.group]
            taken[term.group] = stop = start + len(term.names)
            out.append(self.fit.modes_of(term.group)[start:stop].T.ravel())
        return np.concatenate(out)

    # -------------------------------------------------------------------------------------- rows of the fit

    @cached_property
    def columns_by_term(self) -> list[Any]:
        """Z of each term, (n, levels × effects)."""
        out, n = [], self.fit.nobs
        for term, (levels, width) in zip(self.fit.design.terms, self.shapes, strict=True):
            rows = np.repeat(np.arange(n), width)
            columns = (term.codes.astype(np.intp)[:, None] * width + np.arange(width)).ravel()
            values = np.column_stack(term.columns).ravel()
            out.append(sparse.csc_matrix((values, (rows, columns)), shape=(n, levels * width)))
        return out

    @cached_property
    def columns(self) -> Any:
        """Z (n, q)."""
        return sparse.hstack(self.columns_by_term, format="csc")

    def by_effect(self) -> list[Any]:
        """Z' of each effect of each term, (levels, n)."""
        return [
            whole[:, k::width].T.tocsc()
            for whole, (_, width) in zip(self.columns_by_term, self.shapes, strict=True)
            for k in range(width)
        ]

    @cached_property
    def prior_weights(self) -> Array:
        """The prior weights (n,)."""
        weights = self.fit.design.weights
        return np.ones(self.fit.nobs) if weights is None else weights.copy()

    @cached_property
    def offset(self) -> Array:
        """The offset (n,)."""
        offset = self.fit.design.offset
        return np.zeros(self.fit.nobs) if offset is None else offset.copy()

    @cached_property
    def weights_and_scores(self) -> tuple[Array, Array]:
        """W, and what Z' times makes Λ⁻¹'u of, both (n,)."""
        fit, estimates = self.fit, self.fit.estimates
        if not isinstance(estimates, GeneralizedEstimates):
            weights = self.prior_weights
            left = fit.design.endog - self.offset - fit.design.x @ fit.params - fit.random_part()
            return weights, weights * left
        at = fit.model.response().derivatives(estimates.eta, estimates.nuisance)  # type: ignore[attr-defined]
        return at.observed if estimates.hessian == "observed" else at.weight, at.score

    @cached_property
    def spherical_modes(self) -> Array:
        """u (q,) = Λ'Z'W(y − Xβ − Zb), which b = Λu determines only where Λ has full rank."""
        return np.asarray(self.factor.T @ (self.columns.T @ self.weights_and_scores[1]))

    @cached_property
    def scaled(self) -> Any:
        """Λ'Z' (q, n)."""
        return (self.factor.T @ self.columns.T).tocsc()

    @cached_property
    def cholesky(self) -> Any:
        """L (q, q), lower triangular."""
        weights = self.weights_and_scores[0]
        gram = self.scaled @ sparse.diags(weights) @ self.scaled.T + sparse.identity(self.scaled.shape[0])
        options = {"SymmetricMode": True}
        with_unit = splu(gram.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, options=options)
        return (with_unit.L @ sparse.diags(np.sqrt(with_unit.U.diagonal()))).tocsc()

    @cached_property
    def mixed(self) -> Array:
        """RZX (q, p) = L⁻¹Λ'Z'WX."""
        right = self.scaled @ (self.weights_and_scores[0][:, None] * self.fit.design.exog)
        return np.asarray(sparse.linalg.spsolve_triangular(self.cholesky.tocsr(), right, lower=True))

    @cached_property
    def fixed(self) -> Array:
        """RX (p, p), upper triangular."""
        exog = self.fit.design.exog
        gram = exog.T @ (self.weights_and_scores[0][:, None] * exog) - self.mixed.T @ self.mixed
        return np.asarray(linalg.cholesky(gram))

    # ----------------------------------------------------------------------------------------------- others

    def factors(self) -> dict[str, pd.Categorical]:
        """Grouping factor → the level of each row."""
        return {
            term.group: pd.Categorical.from_codes(term.codes, categories=term.levels)
            for term in reversed(self.fit.design.terms)
        }

    def components(self) -> dict[str, float]:
        """Components of the criterion."""
        fit, (_, scores) = self.fit, self.weights_and_scores
        out = {
            "ldL2": 2 * float(np.log(self.cholesky.diagonal()).sum()),
            "ldRX2": 2 * float(np.log(np.diag(self.fixed)).sum()),
            "ussq": float(self.spherical_modes @ self.spherical_modes),
        }
        if not fit.is_linear:
            return {**out, "dev": fit.objective}
        out["wrss"] = float((scores**2 / self.prior_weights).sum())
        out["pwrss"] = total = out["wrss"] + out["ussq"]
        n, p = self.fit.nobs, len(fit.params)
        sigmas = {"sigmaML": float(np.sqrt(total / n)), "sigmaREML": float(np.sqrt(total / (n - p)))}
        return {**out, "REML" if fit.method.reml else "dev": fit.objective, **sigmas}


_Part = Callable[[_Equations], Any]
#: lme4's name of a part → how it is made.
PARTS: dict[str, _Part] = {
    "X": lambda e: e.fit.design.exog.copy(),
    "Z": lambda e: e.columns,
    "Zt": lambda e: e.columns.T.tocsc(),
    "Ztlist": _Equations.by_effect,
    "mmList": lambda e: [np.column_stack(t.columns) for t in e.fit.design.terms],
    "A": lambda e: e.scaled,
    "y": lambda e: e.fit.design.endog.copy(),
    "mu": lambda e: np.array(conditional_mean(e.fit)),
    "weights": lambda e: e.prior_weights,
    "offset": lambda e: e.offset,
    "u": lambda e: e.spherical_modes,
    "b": lambda e: e.modes,
    "beta": lambda e: e.fit.params.copy(),
    "fixef": lambda e: pd.Series(e.fit.params.copy(), index=list(e.fit.labels.exog_names)),
    "theta": lambda e: e.fit.theta.copy(),
    "Lambda": lambda e: e.transposed_factor().T.tocsc(),
    "Lambdat": _Equations.transposed_factor,
    "Lind": _Equations.theta_places,
    "Tlist": lambda e: [triangle.copy() for triangle in e.triangles],
    "L": lambda e: e.cholesky,
    "RX": lambda e: e.fixed,
    "RZX": lambda e: e.mixed,
    "sigma": lambda e: e.fit.sigma,
    "flist": _Equations.factors,
    "cnms": lambda e: {t.label: list(t.names) for t in e.terms},
    "devcomp": _Equations.components,
    "lower": _Equations.lower,
    "is_REML": lambda e: bool(e.fit.method.reml),
    "REML": lambda e: len(e.fit.params) if e.fit.method.reml else 0,
    "n": lambda e: e.fit.nobs,
    "N": lambda e: e.fit.nobs,
    "p": lambda e: len(e.fit.params),
    "q": lambda e: int(e.pointers[-1]),
    "p_i": lambda e: [width for _, width in e.shapes],
    "l_i": lambda e: [len(levels) for levels in e.fit.labels.groups.values()],
    "q_i": lambda e: [levels * width for levels, width in e.shapes],
    "m": lambda e: len(e.fit.theta),
    "m_i": lambda e: [s.size for s in e.fit.estimates.structures],
    "k": lambda e: len(e.terms),
    "n_rtrms": lambda e: len(e.terms),
    "n_rfacs": lambda e: len(e.fit.labels.groups),
    "Gp": lambda e: e.pointers,
    "Tp": lambda e: np.cumsum([0, *(s.size for s in e.fit.estimates.structures)]),
}
#: Parts of lme4 that are not here, and what is.
_INSTEAD = {
    "ST": "Tlist has the factors",
    "devfun": "mixedext.devfun(model) is the criterion as a function",
    "glmer.nb.theta": "1 / dispersion of the results is the theta of negative binomial fits",
    "ALL": "give a list of names",
}

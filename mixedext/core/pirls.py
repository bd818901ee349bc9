"""Conditional modes of a generalized linear mixed model by penalised iteratively reweighted least squares.

For given covariance factors and coefficients the modes û maximise ℓ(y | η) − ‖u‖²/2, η = Xβ + o + ZΛu. They
are kept as g with u = Λ'g: at the mode g = Z's, and every Newton step has that form, so that no inverse of Λ
is needed and variances of zero are ordinary. A Newton step is a weighted least-squares problem of the linear
core: u ← M⁻¹Λ'Z'(s + ΩZΛu), with the observed weights Ω (for a canonical link the Fisher weights), halved
until the penalised deviance falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.crossprod import CrossProducts
from mixedext.core.elimination import Elimination, Factorization
from mixedext.core.rows import Basis, Rows, find_basis
from mixedext.core.storage import Storage, choose_storage

Array = NDArray[np.float64]


class Terms(Protocol):
    """Log-likelihood and its derivatives by row at one linear predictor."""

    @property
    def loglik(self) -> float: ...
    @property
    def mean(self) -> Array: ...
    @property
    def score(self) -> Array: ...
    @property
    def weight(self) -> Array: ...
    @property
    def observed(self) -> Array: ...
    @property
    def slope(self) -> Array: ...


class ResponseModel(Protocol):
    """What the core asks of a family and link."""

    canonical: bool

    @property
    def has_nuisance(self) -> bool: ...
    @property
    def loglik_constant(self) -> float: ...
    def terms(self, eta: Array, nuisance: float) -> Terms: ...
    def row_loglik(self, eta: Array, nuisance: float) -> Array: ...
    def nuisance_terms(self, terms: Terms, nuisance: float) -> tuple[float, Array, Array]: ...
    def start_eta(self) -> Array: ...
    def flat_eta(self) -> float: ...
    def working_scale(self) -> float: ...
    def rounding(self, weights: Array) -> float: ...


class WorkingRows:
    """The rows in the well-conditioned basis, with all that grouped sums need, formed once.

    Parameters
    ----------
    rows : Rows
    offset : ndarray (n,) or float
    unit : float
        Length of a column in the basis.

    Attributes
    ----------
    x : ndarray (n, p)
    z : tuple of ndarray (q_k, n)
        One array a factor.
    offset : ndarray (n,) or float
    """

    def __init__(self, rows: Rows, offset: Array | float, unit: float = 1.0):
        self.rows = rows
        self.storage: Storage = choose_storage(rows.factors)
        basis = find_basis(rows)
        self.basis: Basis = replace(
            basis,
            x_transform=unit * basis.x_transform,
            z_transforms=tuple(unit * t for t in basis.z_transforms),
        )
        self.elimination = Elimination(self.storage)
        self.offset = offset
        self.n, self.p = rows.x.shape
        self.x = rows.x @ self.basis.x_transform
        self.z = tuple(
            np.ascontiguousarray((np.column_stack(f.columns) @ t).T)
            for f, t in zip(rows.factors, self.basis.z_transforms, strict=True)
        )
        self.codes = tuple(f.codes.astype(np.intp) for f in rows.factors)
        self.pairs = {
            pair: pattern.row_index(slice(None)).astype(np.intp)
            for pair, pattern in self.storage.pairs.items()
        }
        # an intercept's column needs no multiplication, and products of columns are used at every step
        self._unit = tuple(
            f.width == 1 and bool((z[0] == z[0, 0]).all()) for f, z in zip(rows.factors, self.z, strict=True)
        )

    def random_part(self, modes: Sequence[Array]) -> Array:
        """Return Zb (n,) for b by factor (q_k, J_k)."""
        out = np.zeros(self.n)
        for z, codes, b, unit in zip(self.z, self.codes, modes, self._unit, strict=True):
            for column, values in zip(z, b, strict=True):
                out += (values * column[0])[codes] if unit else column * values[codes]
        return out

    def transposed(self, values: Array) -> tuple[Array, ...]:
        """Return Z'v by factor (q_k, J_k) for v (n,)."""
        out = []
        for k, (z, codes) in enumerate(zip(self.z, self.codes, strict=True)):
            size = self.rows.factors[k].n_levels
            if self._unit[k]:
                out.append((z[0, 0] * np.bincount(codes, values, minlength=size))[None])
            else:
                out.append(np.stack([np.bincount(codes, values * column, minlength=size) for column in z]))
        return tuple(out)

    def weighted_products(self, weights: Array, right: Array | None = None) -> CrossProducts:
        """Return Z'WZ and, for columns `right` (n, r), Z'WR and R'WR."""
        grams, cross, rhs = [], {}, []
        for k, (z, codes) in enumerate(zip(self.z, self.codes, strict=True)):
            q, size = len(z), self.rows.factors[k].n_levels
            gram = np.empty((q, q, size))
            own = []
            for a in range(q):
                wz = weights * z[a]
                own.append(wz)
                for b in range(a + 1):
                    gram[a, b] = gram[b, a] = np.bincount(codes, wz * z[b], minlength=size)
            grams.append(gram)
            if right is not None:
                block = np.empty((q, right.shape[1], size))
                for a in range(q):
                    for j in range(right.shape[1]):
                        block[a, j] = np.bincount(codes, own[a] * right[:, j], minlength=size)
                rhs.append(block)
        for (k, other), index in self.pairs.items():
            size = len(self.storage.pairs[k, other].rows)
            block = np.empty((len(self.z[k]), len(self.z[other]), size))
            for a, za in enumerate(self.z[k]):
                wz = weights * za
                for b, zb in enumerate(self.z[other]):
                    block[a, b] = np.bincount(index, wz * zb, minlength=size)
            cross[k, other] = block
        outer = np.zeros((0, 0)) if right is None else (right * weights[:, None]).T @ right
        return CrossProducts(self.storage, tuple(grams), cross, tuple(rhs), outer)

    def leverages(self, factorization: Factorization) -> Array:
        """Return the diagonal of ZΛM⁻¹Λ'Z' (n,)."""
        out = np.zeros(self.n)
        posterior = factorization.posterior_pattern()
        for (k, other), block in posterior.items():
            index = self.codes[k] if k == other else self.pairs[k, other]
            for a, za in enumerate(self.z[k]):
                for b, zb in enumerate(self.z[other]):
                    if k == other and b > a:
                        continue
                    twice = 1.0 if k == other and a == b else 2.0
                    out += twice * za * zb * block[a, b][index]
        return out


@dataclass(frozen=True)
class Modes:
    """The modes at given parameters.

    Attributes
    ----------
    g : tuple of ndarray (q_k, J_k)
        u = Λ'g.
    beta : ndarray (p,)
        Coefficients in the well-conditioned basis (as given, or the joint mode).
    eta : ndarray (n,)
    terms : Terms
        At η.
    penalty : float
        ‖û‖².
    steps : int
        Newton steps taken.
    """

    g: tuple[Array, ...]
    beta: Array
    eta: Array
    terms: Terms
    penalty: float
    steps: int


#: Squared Newton step, in the metric of M, below which it is the last: what it leaves is of the order of its
#: square.
_LAST_STEP = 1e-11
#: The same where the step is none of Newton's (an observed weight was not positive) and convergence is
#: linear.
_LAST_LINEAR_STEP = 1e-20
#: Newton steps converge quadratically: one that is smaller than this and no smaller than the last is
#: rounding.
_ROUNDED = 1e-6
_MOST_STEPS = 200


def find_modes(
    work: WorkingRows,
    response: ResponseModel,
    factors: Sequence[Array],
    beta: Array,
    nuisance: float,
    start: Sequence[Array],
    profile: bool,
) -> Modes:
    """Return the modes, jointly with the coefficients if `profile`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no step lowers the penalised deviance or the log-likelihood is not finite at the start.
    """
    g = tuple(start)
    random = work.random_part([f @ (f.T @ s) for f, s in zip(factors, g, strict=True)])
    eta = work.x @ beta + work.offset + random
    terms = response.terms(eta, nuisance)
    penalty = _penalty(factors, g)
    current = penalty - 2 * terms.loglik
    if not np.isfinite(current):
        raise np.linalg.LinAlgError("the log-likelihood is not finite at the start of the modes")
    previous = np.inf
    for step in range(_MOST_STEPS):
        new_g, new_beta, decrement, exact = _newton(work, response, factors, g, beta, terms, random, profile)
        stalled = decrement < (_ROUNDED if exact else 1e-13) and decrement > 0.25 * previous
        last = decrement <= (_LAST_STEP if exact else _LAST_LINEAR_STEP) or stalled
        previous = decrement
        full = work.random_part([f @ (f.T @ s) for f, s in zip(factors, new_g, strict=True)])
        if last:
            eta = work.x @ new_beta + work.offset + full
            terms = response.terms(eta, nuisance)
            return Modes(new_g, new_beta, eta, terms, _penalty(factors, new_g), step + 1)
        fixed, new_fixed = work.x @ beta, work.x @ new_beta if profile else None
        length = 1.0
        for _ in range(40):
            trial_random = random + length * (full - random)
            trial_fixed = fixed if new_fixed is None else fixed + length * (new_fixed - fixed)
            trial_eta = trial_fixed + work.offset + trial_random
            trial_g = tuple(a + length * (b - a) for a, b in zip(g, new_g, strict=True))
            trial_terms = response.terms(trial_eta, nuisance)
            trial_penalty = _penalty(factors, trial_g)
            value = trial_penalty - 2 * trial_terms.loglik
            if value <= current + 1e-11 * (1.0 + abs(current)):
                break
            length /= 2
        else:
            raise np.linalg.LinAlgError("no step lowers the penalised deviance")
        g, random, eta, terms, penalty, current = (
            trial_g,
            trial_random,
            trial_eta,
            trial_terms,
            trial_penalty,
            value,
        )
        beta = beta + length * (new_beta - beta)
    raise np.linalg.LinAlgError("the modes did not converge")


def _penalty(factors: Sequence[Array], g: Sequence[Array]) -> float:
    return sum(float(((f.T @ s) ** 2).sum()) for f, s in zip(factors, g, strict=True))


def solve_working(
    work: WorkingRows,
    factorization: Factorization,
    products: CrossProducts,
    values: Array,
    profile: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """Solve the penalised equations for rows R'Wv = `values` (n,), jointly with coefficients if `profile`.

    Returns Z'V⁻¹(v − Xc) and the modes ΛM⁻¹Λ'Z'W(v − Xc) by factor (q_k, J_k), and c (p,), which is zero
    but for the profile; `products` must hold those with X for it.
    """
    p = work.p if profile else 0
    rhs = [z[:, None] for z in work.transposed(values)]
    outer = np.zeros((p + 1, p + 1))
    if profile:
        rhs = [np.concatenate([a, b], axis=1) for a, b in zip(products.rhs, rhs, strict=True)]
        outer[:p, :p] = products.outer
        outer[:p, p] = outer[p, :p] = work.x.T @ values
    reduced = factorization.reduce(rhs, outer)
    solved = factorization.back_solve(reduced)
    c = np.zeros(work.p)
    if profile:
        c[:] = np.linalg.solve(reduced.outer[:p, :p], reduced.outer[:p, p])
    less_fixed = [
        tuple(r[:, p] - np.einsum("apj,p->aj", r[:, :p], c[:p]) for r in blocks)
        for blocks in (solved.projected, solved.modes)
    ]
    return less_fixed[0], less_fixed[1], c


def _newton(
    work: WorkingRows,
    response: ResponseModel,
    factors: Sequence[Array],
    g: tuple[Array, ...],
    beta: Array,
    terms: Terms,
    random: Array,
    profile: bool,
) -> tuple[tuple[Array, ...], Array, float, bool]:
    """Return the g and β of a full Newton step, the squared length of the step, and whether it is
    Newton's.
    """
    weights, exact = terms.observed, True
    if not response.canonical:
        # where the observed weight is not positive the step takes the Fisher weight: the fixed point is the
        # same
        positive = weights > 1e-3 * terms.weight
        exact = bool(positive.all())
        if not exact:
            weights = np.where(positive, weights, terms.weight)
    score = work.transposed(terms.score)
    moment = terms.score + weights * random  # W(z − Xβ − o) with z the working response
    products = work.weighted_products(weights, work.x if profile else None)
    factorization = work.elimination.factorize(products, factors)
    new_g, _, change = solve_working(work, factorization, products, moment, profile)
    decrement = float(change @ (work.x.T @ terms.score)) if profile else 0.0
    for f, a, b, s in zip(factors, g, new_g, score, strict=True):
        decrement += float(((f.T @ (b - a)) * (f.T @ (s - a))).sum())
    return new_g, beta + change, decrement, exact

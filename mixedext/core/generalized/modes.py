"""Conditional modes of a generalized linear mixed model by penalised iteratively reweighted least squares.

For given covariance factors and coefficients the modes û maximise ℓ(y | η) − ‖u‖²/2, η = Xβ + o + ZΛu. They
are kept as g with u = Λ'g: at the mode g = Z's, and every Newton step has that form, so that no inverse of Λ
is needed and variances of zero are ordinary. A Newton step is a weighted least-squares problem of the linear
core: u ← M⁻¹Λ'Z'(s + ΩZΛu), with the observed weights Ω (for a canonical link the Fisher weights), halved
until the penalised deviance falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.plan import Storage, choose_storage
from mixedext.core.equations.solver import Factorization, Solver
from mixedext.core.equations.solvers import make_solver
from mixedext.core.generalized.response import ResponseModel, RowDerivatives
from mixedext.core.rows import Basis, Rows, find_basis

Array = NDArray[np.float64]


#: What the criterion and its derivatives ask of a solver.
_QUESTIONS = ("reduce", "solve", "log_determinant", "gram_sums", "posterior_blocks", "posterior_pattern")


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
        self.solver = make_solver(self.storage)
        self.solver.require(_QUESTIONS, "a generalized model")
        self.offset = offset
        self.n, self.p = rows.x.shape
        # columns one after the other: each is summed by itself
        self.x = (self.basis.x_transform.T @ rows.x.T).T
        z: list[Array] = [
            _columns(f.columns, t) for f, t in zip(rows.factors, self.basis.z_transforms, strict=True)
        ]
        self.codes = tuple(f.codes.astype(np.intp) for f in rows.factors)
        self.pairs = {
            pair: pattern.row_index(slice(None)).astype(np.intp)
            for pair, pattern in self.storage.pairs.items()
        }
        #: the value of an intercept's column, which is kept by that and needs no multiplication by row
        self._constant = tuple(
            float(c[0, 0]) if len(c) == 1 and c[0, 0] != 0 and bool((c == c[0, 0]).all()) else None for c in z
        )
        self.z = tuple(
            c if value is None else np.broadcast_to(np.array([[value]]), c.shape)
            for c, value in zip(z, self._constant, strict=True)
        )

    def with_solver(self, solver: type[Solver]) -> WorkingRows:
        """Return the same rows with a solver of another class."""
        work = copy(self)
        work.solver = make_solver(self.storage, solver)
        work.solver.require(_QUESTIONS, "a generalized model")
        return work

    def random_part(self, modes: Sequence[Array]) -> Array:
        """Return Zb (n,) for b by factor (q_k, J_k)."""
        total: Array | None = None
        for z, codes, b, constant in zip(self.z, self.codes, modes, self._constant, strict=True):
            for column, values in zip(z, b, strict=True):
                if constant is None:
                    part = values[codes]
                    part *= column
                else:
                    part = (constant * values)[codes]
                total = part if total is None else np.add(total, part, out=total)
        assert total is not None  # a model has random effects
        return total

    def transposed(self, values: Array) -> tuple[Array, ...]:
        """Return Z'v by factor (q_k, J_k) for v (n,)."""
        out: list[Array] = []
        for k, (z, codes) in enumerate(zip(self.z, self.codes, strict=True)):
            size, constant = self.rows.factors[k].n_levels, self._constant[k]
            if constant is not None:
                sums = constant * np.bincount(codes, values, minlength=size)
                out.append(np.asarray(sums[None], dtype=float))
            else:
                columns = [np.bincount(codes, values * column, minlength=size) for column in z]
                out.append(np.asarray(columns, dtype=float))
        return tuple(out)

    def _times_column(self, values: Array, k: int, a: int) -> tuple[Array, float]:
        """Return values times a column of factor k as an array (n,) and a factor before it."""
        constant = self._constant[k]
        return (values * self.z[k][a], 1.0) if constant is None else (values, constant)

    def weighted_products(self, weights: Array, right: Array | None = None) -> CrossProducts:
        """Return Z'WZ and, for columns `right` (n, r), Z'WR and R'WR."""
        grams, cross = [], {}
        for k, (z, codes) in enumerate(zip(self.z, self.codes, strict=True)):
            q, size = len(z), self.rows.factors[k].n_levels
            gram = np.empty((q, q, size))
            for a in range(q):
                wz, before = self._times_column(weights, k, a)
                for b in range(a + 1):
                    values, again = self._times_column(wz, k, b)
                    np.multiply(before * again, np.bincount(codes, values, minlength=size), out=gram[a, b])
                    gram[b, a] = gram[a, b]
            grams.append(gram)
        for (k, other), index in self.pairs.items():
            size = len(self.storage.pairs[k, other].rows)
            block = np.empty((len(self.z[k]), len(self.z[other]), size))
            for a in range(len(self.z[k])):
                wz, before = self._times_column(weights, k, a)
                for b in range(len(self.z[other])):
                    values, again = self._times_column(wz, other, b)
                    block[a, b] = before * again * np.bincount(index, values, minlength=size)
            cross[k, other] = block
        products = CrossProducts(self.storage, tuple(grams), cross, (), np.zeros((0, 0)))
        return products if right is None else self.with_columns(products, weights, right)

    def with_columns(self, products: CrossProducts, weights: Array, right: Array) -> CrossProducts:
        """Return the products with Z'WR and R'WR for columns `right` (n, r) added."""
        rhs = [
            np.empty((len(z), right.shape[1], f.n_levels))
            for z, f in zip(self.z, self.rows.factors, strict=True)
        ]
        for j in range(right.shape[1]):
            weighted = weights * right[:, j]
            for block, sums in zip(rhs, self.transposed(weighted), strict=True):
                block[:, j] = sums
        outer = (right * weights[:, None]).T @ right
        return replace(products, rhs=tuple(rhs), outer=outer)

    def leverages(self, factorization: Factorization) -> Array:
        """Return the diagonal of ZΛM⁻¹Λ'Z' (n,)."""
        total: Array | None = None
        posterior = factorization.posterior_pattern()
        for (k, other), block in posterior.items():
            index = self.codes[k] if k == other else self.pairs[k, other]
            for a in range(len(self.z[k])):
                for b in range(a + 1 if k == other else len(self.z[other])):
                    times = 1.0 if k == other and a == b else 2.0
                    times *= (self._constant[k] or 1.0) * (self._constant[other] or 1.0)
                    part = (times * block[a, b])[index]
                    for factor, column in ((k, a), (other, b)):
                        if self._constant[factor] is None:
                            part *= self.z[factor][column]
                    total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        return total


def _columns(columns: Sequence[Array], transform: Array) -> Array:
    """Return the columns in the basis, (q, n)."""
    if len(columns) == 1:
        return np.asarray((columns[0] * transform[0, 0])[None], dtype=float)
    return np.asarray(np.ascontiguousarray((np.column_stack(columns) @ transform).T), dtype=float)


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
    derivatives : RowDerivatives
        At η.
    penalty : float
        ‖û‖².
    steps : int
        Newton steps taken.
    """

    g: tuple[Array, ...]
    beta: Array
    eta: Array
    derivatives: RowDerivatives
    penalty: float
    steps: int


#: Squared Newton step, in the metric of M, below which it is the last: what it leaves is of the order of its
#: square.
_LAST_STEP = 1e-11
#: The same for the step after it, where two steps tell how long that will be.
_NO_STEP = 1e-20
#: Squared step from which on convergence is quadratic.
_NEAR = 0.01
#: The same as the first where the step is none of Newton's (an observed weight was not positive) and
#: convergence is linear.
_LAST_LINEAR_STEP = 1e-20
#: Newton steps converge quadratically: one that is smaller than this and no smaller than the last is
#: rounding.
_ROUNDED = 1e-6
_MOST_STEPS = 200


# a step that overflows is not finite, and is shortened as any that does not lower the deviance
@np.errstate(over="ignore", invalid="ignore")
def find_modes(
    work: WorkingRows,
    response: ResponseModel,
    factors: Sequence[Array],
    beta: Array,
    nuisance: Array,
    start: Sequence[Array],
    joint_beta: bool,
) -> Modes:
    """Return the modes, jointly with the coefficients if `joint_beta`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no step lowers the penalised deviance or the log-likelihood is not finite at the start.
    """
    g = tuple(start)
    random = work.random_part(apply_covariance(factors, g))
    fixed = work.x @ beta + work.offset
    eta = fixed + random
    at = response.derivatives(eta, nuisance)
    penalty = squared_length(factors, g)
    current = penalty - 2 * at.loglik
    if not np.isfinite(current):
        raise np.linalg.LinAlgError("the log-likelihood is not finite at the start of the modes")
    previous = np.inf
    for step in range(_MOST_STEPS):
        new_g, new_beta, decrement, exact = _newton(work, response, factors, g, beta, at, random, joint_beta)
        last = decrement < (_ROUNDED if exact else 1e-13) and decrement > 0.25 * previous  # stalled
        if exact:
            # convergence is quadratic: the next step can be told from this one and the one before
            following = decrement * (decrement / previous) ** 2 if previous < _NEAR else np.inf
            last = last or decrement <= _LAST_STEP or following <= _NO_STEP
        else:
            last = last or decrement <= _LAST_LINEAR_STEP
        previous = decrement
        new_random = work.random_part(apply_covariance(factors, new_g))
        new_fixed = work.x @ new_beta + work.offset if joint_beta else fixed
        length = 1.0
        for _ in range(40):
            if length == 1.0:
                trial_g, trial_random, trial_fixed = new_g, new_random, new_fixed
            else:
                trial_g = tuple(a + length * (b - a) for a, b in zip(g, new_g, strict=True))
                trial_random = random + length * (new_random - random)
                trial_fixed = fixed + length * (new_fixed - fixed) if joint_beta else fixed
            eta = trial_fixed + trial_random
            trial = response.derivatives(eta, nuisance)
            penalty = squared_length(factors, trial_g)
            value = penalty - 2 * trial.loglik
            if last and value <= current + 1e-6 * (1.0 + abs(current)):
                return Modes(trial_g, new_beta, eta, trial, penalty, step + 1)
            if value <= current + 1e-11 * (1.0 + abs(current)):
                break
            length /= 2
        else:
            raise np.linalg.LinAlgError("no step lowers the penalised deviance")
        g, random, fixed, at, current = trial_g, trial_random, trial_fixed, trial, value
        beta = beta + length * (new_beta - beta) if joint_beta else beta
    raise np.linalg.LinAlgError("the modes did not converge")


def apply_covariance(factors: Sequence[Array], g: Sequence[Array]) -> list[Array]:
    """Return b = FF'g by factor (q_k, J_k)."""
    return [f[0, 0] ** 2 * s if f.shape == (1, 1) else f @ (f.T @ s) for f, s in zip(factors, g, strict=True)]


def _spherical(factor: Array, g: Array) -> Array:
    """Return u = F'g (q_k, J_k)."""
    return factor[0, 0] * g if factor.shape == (1, 1) else factor.T @ g


def squared_length(factors: Sequence[Array], g: Sequence[Array]) -> float:
    """Return ‖u‖² of u = F'g."""
    return sum(float(np.vdot(u, u)) for u in map(_spherical, factors, g))


def solve_working(
    work: WorkingRows,
    factorization: Factorization,
    products: CrossProducts,
    values: Array,
    joint_beta: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """Solve the penalised equations for rows R'Wv = `values` (n,), jointly with coefficients if `joint_beta`.

    Returns Z'V⁻¹(v − Xc) and the modes ΛM⁻¹Λ'Z'W(v − Xc) by factor (q_k, J_k), and c (p,), which is zero
    unless `joint_beta`; `products` must hold those with X for it.
    """
    own = [z[:, None] for z in work.transposed(values)]
    p = work.p if joint_beta else 0
    c = np.zeros(work.p)
    if joint_beta:
        rhs = [np.concatenate([a, b], axis=1) for a, b in zip(products.rhs, own, strict=True)]
        outer = np.zeros((p + 1, p + 1))
        outer[:p, :p] = products.outer
        outer[:p, p] = outer[p, :p] = work.x.T @ values
        reduced = factorization.reduce(rhs, outer)
        solved = factorization.back_solve(reduced)
        c[:] = np.linalg.solve(reduced.outer[:p, :p], reduced.outer[:p, p])
    else:
        solved = factorization.solve(own)

    def less_fixed(blocks: tuple[Array, ...]) -> tuple[Array, ...]:
        if not p:
            return tuple(r[:, 0] for r in blocks)
        return tuple(r[:, p] - np.einsum("apj,p->aj", r[:, :p], c) for r in blocks)

    return less_fixed(solved.projected), less_fixed(solved.modes), c


def _newton(
    work: WorkingRows,
    response: ResponseModel,
    factors: Sequence[Array],
    g: tuple[Array, ...],
    beta: Array,
    at: RowDerivatives,
    random: Array,
    joint_beta: bool,
) -> tuple[tuple[Array, ...], Array, float, bool]:
    """Return the g and β of a full Newton step, the squared length of the step, and whether it is
    Newton's.
    """
    weights, exact = at.observed, True
    if not response.canonical:
        # where the observed weight is not positive the step takes the Fisher weight: the fixed point is the
        # same
        positive = weights > 1e-3 * at.weight
        exact = bool(positive.all())
        if not exact:
            weights = np.where(positive, weights, at.weight)
    score = work.transposed(at.score)
    moment = weights * random
    moment += at.score  # W(z − Xβ − o) with z the working response
    products = work.weighted_products(weights, work.x if joint_beta else None)
    factorization = work.solver.factorize(products, factors)
    new_g, _, change = solve_working(work, factorization, products, moment, joint_beta)
    decrement = float(change @ (work.x.T @ at.score)) if joint_beta else 0.0
    for f, a, b, s in zip(factors, g, new_g, score, strict=True):
        decrement += float(np.vdot(_spherical(f, b - a), _spherical(f, s - a)))
    return new_g, beta + change, decrement, exact

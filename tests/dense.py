"""The linear mixed model by plain linear algebra on n × n and q × q matrices, to test the core against.

Nothing here knows of blocks, storage, elimination or changes of basis: the marginal covariance of y is
written down and factorised whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.rows import Factor, Rows

Array = NDArray[np.float64]


def z_matrix(factor: Factor) -> Array:
    """Return Z of a grouping factor (n, J·q), the columns of one level next to each other."""
    n, q = len(factor.codes), factor.width
    z = np.zeros((n, factor.n_levels, q))
    z[np.arange(n), factor.codes] = np.column_stack(factor.columns)
    return z.reshape(n, -1)


def lower(theta: Array, q: int) -> Array:
    """Return T (q, q) from lme4's θ: the lower triangle column by column."""
    t = np.zeros((q, q))
    at = 0
    for column in range(q):
        t[column:, column] = theta[at : at + q - column]
        at += q - column
    return t


def factors_of(rows: Rows, theta: Array) -> list[Array]:
    """Return the covariance factor of each grouping factor, block diagonal over its terms, from the model's
    θ.
    """
    sizes: dict[int, int] = {}
    for factor in rows.factors:
        for number, width in zip(factor.numbers, factor.widths, strict=True):
            sizes[number] = width * (width + 1) // 2
    starts, at = {}, 0
    for number in sorted(sizes):
        starts[number] = at
        at += sizes[number]
    out = []
    for factor in rows.factors:
        t = np.zeros((factor.width, factor.width))
        for number, width, part in zip(factor.numbers, factor.widths, factor.slices, strict=True):
            t[part, part] = lower(theta[starts[number] : starts[number] + sizes[number]], width)
        out.append(t)
    return out


@dataclass(frozen=True)
class DenseModel:
    """The model at given covariance factors F_k (q_k, r), by factor; all matrices are whole."""

    rows: Rows
    factors: Sequence[Array]

    @cached_property
    def weights(self) -> Array:
        return np.ones(self.rows.n) if self.rows.weights is None else self.rows.weights

    @cached_property
    def z(self) -> Array:
        return np.column_stack([z_matrix(f) for f in self.rows.factors])

    @cached_property
    def lam(self) -> Array:
        """Λ."""
        blocks = [
            np.kron(np.eye(f.n_levels), t) for f, t in zip(self.rows.factors, self.factors, strict=True)
        ]
        out = np.zeros((sum(len(b) for b in blocks), sum(b.shape[1] for b in blocks)))
        i = j = 0
        for b in blocks:
            out[i : i + b.shape[0], j : j + b.shape[1]] = b
            i, j = i + b.shape[0], j + b.shape[1]
        return out

    @cached_property
    def m(self) -> Array:
        """M = Λ'Z'WZΛ + I."""
        zl = self.z @ self.lam
        return zl.T @ (zl * self.weights[:, None]) + np.eye(zl.shape[1])

    @cached_property
    def v(self) -> Array:
        """Covariance of y over σ²."""
        zl = self.z @ self.lam
        return np.diag(1 / self.weights) + zl @ zl.T

    @cached_property
    def v_inverse(self) -> Array:
        return np.linalg.inv(self.v)

    @cached_property
    def x_information(self) -> Array:
        return self.rows.x.T @ self.v_inverse @ self.rows.x

    @cached_property
    def beta(self) -> Array:
        if not self.rows.x.shape[1]:
            return np.zeros(0)
        return np.linalg.solve(self.x_information, self.rows.x.T @ self.v_inverse @ self.rows.y)

    @cached_property
    def score(self) -> Array:
        """P y = V⁻¹(y − Xβ̂)."""
        return self.v_inverse @ (self.rows.y - self.rows.x @ self.beta)

    @cached_property
    def projection(self) -> Array:
        """P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹."""
        vx = self.v_inverse @ self.rows.x
        return self.v_inverse - vx @ np.linalg.solve(self.x_information, vx.T)

    @cached_property
    def rss(self) -> float:
        residual = self.rows.y - self.rows.x @ self.beta
        return float(residual @ self.score)

    def degrees(self, reml: bool) -> int:
        return self.rows.n - (self.rows.x.shape[1] if reml else 0)

    def objective(self, reml: bool) -> float:
        """Return −2 log of the normal density of y (of its error contrasts), σ² profiled out."""
        degrees = self.degrees(reml)
        value = np.linalg.slogdet(self.v)[1] + degrees * (1 + np.log(2 * np.pi * self.rss / degrees))
        if reml:
            value += np.linalg.slogdet(self.x_information)[1]
        return float(value)

    def covariance_derivatives(self) -> list[list[Array]]:
        """Return ∂V/∂F_k[a, b] for every factor k, in row-major order of (a, b)."""
        out = []
        for factor, t in zip(self.rows.factors, self.factors, strict=True):
            z = z_matrix(factor)
            own = []
            for a in range(t.shape[0]):
                for b in range(t.shape[1]):
                    d = np.zeros(t.shape)
                    d[a, b] = 1.0
                    inner = np.kron(np.eye(factor.n_levels), d @ t.T + t @ d.T)
                    own.append(z @ inner @ z.T)
            out.append(own)
        return out

    def slopes(self, reml: bool) -> list[Array]:
        """Return the derivative of the criterion in each F_k (q_k, q_k), as it stands in textbooks."""
        scale = self.rss / self.degrees(reml)
        weight = self.projection if reml else self.v_inverse
        return [
            np.array([np.sum(weight * d) - self.score @ d @ self.score / scale for d in own]).reshape(t.shape)
            for own, t in zip(self.covariance_derivatives(), self.factors, strict=True)
        ]

    @cached_property
    def modes(self) -> Array:
        """Conditional modes b = ΛΛ'Z'V⁻¹(y − Xβ̂), level by level (q,)."""
        return self.lam @ self.lam.T @ self.z.T @ self.score

    @cached_property
    def mode_covariance(self) -> Array:
        """ΛM⁻¹Λ' (q, q)."""
        return self.lam @ np.linalg.solve(self.m, self.lam.T)


def central_differences(function: Callable[[Array], float], point: Array, step: float = 1e-5) -> Array:
    """Return the gradient by central differences, extrapolated once (error of order step⁴)."""
    out = np.empty(len(point))
    for i in range(len(point)):
        e = np.zeros(len(point))
        e[i] = step
        near = (function(point + e) - function(point - e)) / (2 * step)
        far = (function(point + 2 * e) - function(point - 2 * e)) / (4 * step)
        out[i] = (4 * near - far) / 3
    return out

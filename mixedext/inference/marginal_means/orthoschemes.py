"""The tail of max|Xᵢ| in few dimensions, by cutting the sphere into orthoschemes.

X = AZ with Z standard normal in r dimensions and rows aᵢ of A of length 1. In direction u, max|Xᵢ| is |Z|
times cos ψ, with ψ the angle between u and the nearest of ±aᵢ, so that

    P(max|Xᵢ| > t) = E P(χ_r > t / cos ψ(U)),   U uniform on the sphere.

The points ±aᵢ cut the sphere into their Voronoi cells. The convex hull of the points gives the simplices of
which the cells are dual; for each order of the points of a simplex, the chain of the feet of the
perpendiculars from the origin on the planes {x: aᵢ'x = 1} of the first one, the first two, … points spans
an orthoscheme, a simplex whose edges along the chain are at right angles. The signed sum of all
orthoschemes is the sphere (Schläfli 1858; Coxeter 1963, *Regular Polytopes*, §7.9). Their edges are h =
L⁻¹1 with LL' the correlations of the points in this order. In spherical coordinates about a₁ the integral
over ψ is tabulated, and r − 2 smooth ones are left for Gauss quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, special
from scipy.spatial import ConvexHull, QhullError

Array = NDArray[np.float64]

#: Nodes of Gauss quadrature in a dimension, tried in turn.
_ORDERS = (3, 5, 8, 12, 17, 25, 34)
#: Error that is allowed for, as the orders foretell it: of all orthoschemes, and of one of very many.
_ERROR, _LEAST_ERROR = 1e-8, 3e-11
#: Nodes at most, in all and in a block.
_MOST_NODES, _BLOCK = 15_000_000, 100_000
#: Orthoschemes at most, and the most dimensions in which there can be so few.
_MOST_ORTHOSCHEMES, _MOST_DIMENSIONS = 60_000, 5
#: Values of max|X| at which orders are compared.
_COMPARED = np.array([1.0, 2.5])
#: The order that is enough for most of them.
_USUAL_ORDER = 6
#: Intervals of the angle ψ in which it is tabulated, from 0 to π/2.
_INTERVALS = 2048
_WIDTH = math.pi / 2 / _INTERVALS
#: Parts of such an interval, between whose ends values that are only compared are taken as linear.
_PARTS = 16
#: Squared distance of a point from the span of others, and distance from a plane, that are rounding.
_FLAT, _ROUNDING = 1e-14, 1e-9


def tail_by_orthoschemes(root: Array) -> Callable[[Array], Array] | None:
    """Return the tail of max|(AZ)ᵢ|, good to 1e-7; None where that takes too many orthoschemes or nodes.

    Parameters
    ----------
    root : ndarray (c, r)
        A, of rank r ≥ 2, its rows of length 1 and none a multiple of another.
    """
    rank = root.shape[1]
    if rank > _MOST_DIMENSIONS:
        return None
    edges = _orthoschemes(root)
    if edges is None:
        return None
    shares = _angle_shares(*_distinct(edges), rank)
    return None if shares is None else lambda t: tail_of_angles(t, shares, rank)


def _orthoschemes(root: Array) -> Array | None:
    """Return the edges h₁ … h_{r−1} of the orthoschemes that make half the sphere, (m, r − 1)."""
    rank = root.shape[1]
    points = np.vstack([root, -root])
    if rank == 2:
        order = np.argsort(np.arctan2(points[:, 1], points[:, 0]))
        simplices = np.column_stack([order, np.roll(order, -1)])[: len(root)]
    else:
        try:
            hull = ConvexHull(points)
        except QhullError:  # too flat for its arithmetic
            return None
        # one of each two opposite vertices of {max|aᵢ'x| ≤ 1}; none is at right angles to this direction
        across = np.cos(1.7 * np.arange(1, rank + 1)) + 0.3 * np.arange(rank)
        simplices = hull.simplices[hull.equations[:, :-1] @ across > 0]
    if len(simplices) * math.factorial(rank) > _MOST_ORTHOSCHEMES:
        return None
    correlation = points @ points.T
    return edges_of(correlation[simplices[:, :, None], simplices[:, None, :]])


def edges_of(correlations: Array) -> Array:
    """Return the edges h₁ … h_{r−1} of the orthoschemes of simplices, for each order of their points.

    Parameters
    ----------
    correlations : ndarray (m, r, r)
        Of the points of each simplex.

    Returns
    -------
    ndarray (m · r!, r − 1)
        Edges that lead out of the cell are negative.
    """
    rank = correlations.shape[1]
    orders = np.array(list(permutations(range(rank))))
    left = correlations[:, orders[:, :, None], orders[:, None, :]].reshape(-1, rank, rank)
    rest = np.ones((len(left), rank))
    edges = np.empty((len(left), rank))
    for j in range(rank):
        flat = left[:, j, j] < _FLAT
        pivot = np.sqrt(np.where(flat, _FLAT, left[:, j, j]))
        edges[:, j] = np.where(flat & (np.abs(rest[:, j]) < _ROUNDING), 0.0, rest[:, j] / pivot)
        column = left[:, :, j] / pivot[:, None]
        column[flat] = 0.0
        rest = rest - column * edges[:, j : j + 1]
        left = left - column[:, :, None] * column[:, None, :]
    return edges[:, 1:]


def tails_of_unions(correlation: Array, size: int) -> Callable[[Array], Array] | None:
    """Return the sum of the tails of max|Xᵢ| over all subsets of a size; None where that takes too much.

    As many points ±aᵢ as there are dimensions make a cross-polytope: each choice of signs is a simplex.

    Parameters
    ----------
    correlation : ndarray (c, c)
    size : int
        At least 2.
    """
    many = math.comb(len(correlation), size) * 2 ** (size - 1) * math.factorial(size)
    if size >= _MOST_DIMENSIONS or many * _USUAL_ORDER ** (size - 2) > _MOST_NODES:
        return None
    subsets = np.array(list(combinations(range(len(correlation)), size)))
    signs = np.array([(1, *rest) for rest in product((1, -1), repeat=size - 1)])
    parts = correlation[subsets[:, :, None], subsets[:, None, :]]
    signed = parts[:, None] * (signs[:, :, None] * signs[:, None, :])
    shares = _angle_shares(*_distinct(edges_of(signed.reshape(-1, size, size))), size)
    return None if shares is None else lambda t: tail_of_angles(t, shares, size)


def _distinct(edges: Array) -> tuple[Array, Array]:
    """Return orthoschemes of different edges, and how many there are of each, those outside taken off."""
    sizes, place = np.unique(np.abs(edges).round(10), axis=0, return_inverse=True)
    count = np.bincount(place.ravel(), np.sign(edges).prod(axis=1), minlength=len(sizes))
    kept = (count != 0) & (sizes > 0).all(axis=1)
    return sizes[kept], count[kept]


def _angle_shares(edges: Array, signs: Array, rank: int) -> Array | None:
    """Return the weights by which values at the angles of the table make the integral over orthoschemes.

    Each orthoscheme is integrated by higher orders until the last two foretell that it is done; None where
    that takes too many nodes.
    """
    shares = np.zeros(_INTERVALS + 1)
    if rank == 2:
        _spread(np.arctan(edges[:, 0]), signs, shares)
        return shares
    compared = [_finer(_radial(t, rank)) for t in _COMPARED]
    allowed = max(_ERROR / len(edges), _LEAST_ERROR)
    last, last_order, used = np.full((len(edges), len(_COMPARED)), np.inf), 1, 0
    for order in _ORDERS:
        used += len(edges) * order ** (rank - 2)
        if used > _MOST_NODES:
            return None
        found = np.empty_like(last)
        left = np.ones(len(edges), dtype=bool)
        block = max(1, _BLOCK // order ** (rank - 2))
        for start in range(0, len(edges), block):
            part = slice(start, start + block)
            angle, weight = _nodes(edges[part], order)
            place = angle * (_PARTS / _WIDTH)
            below = np.minimum(place.astype(np.intp), _PARTS * _INTERVALS - 1)
            between = place - below
            for j, table in enumerate(compared):
                values = table[below] + between * (table[below + 1] - table[below])
                found[part, j] = (values * weight).sum(axis=1)
            # the digits of Gauss quadrature grow in proportion to its order
            size = found[part] + 1e-300
            change = np.minimum(np.abs(found[part] - last[part]) / size, 1.0)
            error = 10 * size * change ** (order / last_order) * np.abs(signs[part, None])
            done = (error < allowed).all(axis=1)
            left[part] = ~done
            _spread(angle[done].ravel(), (weight * signs[part, None])[done].ravel(), shares)
        edges, signs, last, last_order = edges[left], signs[left], found[left], order
        if not len(edges):
            return shares
    return None


def _nodes(edges: Array, order: int) -> tuple[Array, Array]:
    """Return the angles ψ at the ends of rays from a₁, and the measure of the directions of the rays.

    A direction has the coordinates θ_{r−2}, …, θ₁, each from 0 to atan(h_{j+1} / (h_j cos θ_{j+1})), and the
    measure Π sin(θ_j)^{r−2−j}; the ray ends at tan ψ = h₁ / cos θ₁. With tan θ = sinh v, so that
    cos θ = 1/cosh v, all functions of v are regular within π/2 of the real axis, however unequal the edges.
    """
    x, w = np.polynomial.legendre.leggauss(order)
    x, w = (x + 1) / 2, w / 2
    count, width = edges.shape
    weight, cosh = np.ones((count, 1)), np.ones((count, 1))
    for j in range(width - 1, 0, -1):
        end = np.arcsinh(edges[:, j, None] / edges[:, j - 1, None] * cosh)
        v = end[:, :, None] * x
        cosh = np.cosh(v)
        weight = (weight * end)[:, :, None] * w / cosh
        if j < width - 1:
            weight *= np.tanh(v) ** (width - 1 - j)
        cosh, weight = cosh.reshape(count, -1), weight.reshape(count, -1)
    return np.arctan(edges[:, :1] * cosh), weight


def _spread(angle: Array, weight: Array, shares: Array) -> None:
    """Add weights at angles to those at the four nearest of the table, as cubic interpolation takes them."""
    place = angle / _WIDTH
    first = np.clip(place.astype(np.intp) - 1, 0, _INTERVALS - 3)
    f = place - first
    a, b, c = f - 1, f - 2, f - 3
    for j, part in enumerate((-a * b * c / 6, f * b * c / 2, -f * a * c / 2, f * a * b / 6)):
        shares += np.bincount(first + j, weight * part, minlength=len(shares))


def _radial(t: float, rank: int) -> Array:
    """Return ∫₀^ψ sin(φ)^{r−2} P(χ_r > t/cos φ) dφ at the angles ψ of the table."""
    phi, measure = _inner_nodes(rank)
    values = (special.chdtrc(rank, (t / np.cos(phi)) ** 2) * measure).reshape(_INTERVALS, -1)
    return np.concatenate([[0.0], np.cumsum(values.sum(axis=1))])


def _finer(table: Array) -> Array:
    """Return a table with _PARTS times as many intervals."""
    places = np.arange(len(table))
    return np.asarray(
        interpolate.CubicSpline(places, table)(np.linspace(0, places[-1], _PARTS * places[-1] + 1))
    )


def _inner_nodes(rank: int) -> tuple[Array, Array]:
    """Return nodes of Gauss quadrature over φ within all intervals of the table, and their measure."""
    x, w = np.polynomial.legendre.leggauss(4)
    phi = (_WIDTH * (np.arange(_INTERVALS)[:, None] + (x + 1) / 2)).ravel()
    return phi, np.sin(phi) ** (rank - 2) * np.tile(w / 2, _INTERVALS) * _WIDTH


def tail_of_angles(t: Array, shares: Array, rank: int) -> Array:
    """Return the tail from the weights of the angles of the table in half the sphere."""
    phi, measure = _inner_nodes(rank)
    # what is integrated up to one angle counts for all beyond it
    beyond = np.cumsum(shares[::-1])[::-1][1:]
    sphere = 2 * math.pi ** (rank / 2) / math.gamma(rank / 2)
    measure = 2 / sphere * measure * np.repeat(beyond, len(phi) // _INTERVALS)
    squares = 1 / np.cos(phi) ** 2
    return np.array([special.chdtrc(rank, size**2 * squares) @ measure for size in t])

"""The tail of max|Xᵢ| in any number of dimensions, as a mean over points on the sphere.

X = AZ has a direction, uniform on the sphere, and a length independent of it, over which is integrated
exactly: the tail is the mean of P(χ_r > t/m₁) with m₁ ≥ m₂ ≥ … the sizes of the elements of X in a
direction of length 1. The directions are Sobol's points, always the same.

Of the events |Xᵢ| > t the sums S_j of the probabilities that j given ones of them happen together are known
for small j from `orthoschemes`. The points have means for these too, Σ_k C(k−1, j−1) P(χ_r > t/m_k), and
what those are wrong by foretells what the tail is wrong by: they are control variates (Glasserman 2003,
*Monte Carlo Methods in Financial Engineering*, §4.1). Far out the tail is S₁ − S₂ + S₃ − … .
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import qmc

from mixedext.inference.marginal_means.orthoschemes import tails_of_unions

Array = NDArray[np.float64]

#: Statistics at most, and the power of two of the directions that are taken for them, all their sizes sorted.
_DIRECTIONS = ((10, 20), (24, 21), (48, 20))
#: The same for more statistics, of which the largest alone is looked at; and the directions of one block.
_FEWER_DIRECTIONS, _BLOCK = 18, 13
#: Classes in which sizes are counted.
_CLASSES = 8192
#: Directions from which the weights of the control variates are found.
_SAMPLE = 4096
#: Standard deviations of control variates, as a share of the largest, below which they tell nothing more.
_SINGULAR = 1e-9


def tail_by_directions(root: Array) -> Callable[[Array], Array]:
    """Return the tail of max|(AZ)ᵢ|.

    Parameters
    ----------
    root : ndarray (c, r)
        A, of rank r ≥ 2, its rows of length 1.
    """
    rank = root.shape[1]
    power = next((power for most, power in _DIRECTIONS if len(root) <= most), None)
    if power is None:
        counts, _ = _counted_sizes(root, _FEWER_DIRECTIONS, 1)
        return lambda t: _exceeding(t, rank) @ counts[0]
    counts, sample = _counted_sizes(root, power, len(root))
    unions: list[Callable[[Array], Array]] = []
    while (union := tails_of_unions(root @ root.T, len(unions) + 2)) is not None:
        unions.append(union)
        if len(unions) + 1 == len(root):
            break
    return lambda t: _corrected(t, rank, counts, sample, unions)


def _counted_sizes(root: Array, power: int, kept: int) -> tuple[Array, NDArray[np.uint16]]:
    """Return the shares of the classes of m₁ … m_kept, and the classes in the first directions."""
    sampler = qmc.Sobol(root.shape[1], scramble=True, seed=20)
    counts = np.zeros((kept, _CLASSES))
    sample: list[NDArray[np.uint16]] = []
    offsets = _CLASSES * np.arange(kept)
    for block in range(2 ** (power - _BLOCK)):
        # a point may have a coordinate 0
        normal = special.ndtri(np.maximum(sampler.random(2**_BLOCK), 1e-12))
        sizes = np.abs(normal @ root.T) / np.sqrt((normal**2).sum(axis=1))[:, None]
        if kept == 1:
            sizes = sizes.max(axis=1, keepdims=True)
        classes = np.minimum(sizes * _CLASSES, _CLASSES - 1).astype(np.uint16)
        if kept > 1:
            classes = np.sort(classes, axis=1)[:, ::-1]
        counts += np.bincount((classes + offsets).ravel(), minlength=counts.size).reshape(counts.shape)
        if block * 2**_BLOCK < _SAMPLE:
            sample.append(classes[:_SAMPLE])
    return counts / 2**power, np.concatenate(sample)[:_SAMPLE]


def _exceeding(t: Array, rank: int) -> Array:
    """Return P(χ_r > t/m) for the middles m of the classes, (t, classes)."""
    middles = (np.arange(_CLASSES) + 0.5) / _CLASSES
    return np.array([special.chdtrc(rank, (size / middles) ** 2) for size in t])


def _corrected(
    t: Array, rank: int, counts: Array, sample: NDArray[np.uint16], unions: list[Callable[[Array], Array]]
) -> Array:
    """Return the tail by directions, corrected by S_1, S_2, … ."""
    c = len(counts)
    known = _joint_sums(t, c, unions)
    combinations = np.array([[math.comb(k, j) for j in range(len(known))] for k in range(c)], dtype=float)
    out = np.empty(len(t))
    for i, values in enumerate(_exceeding(t, rank)):
        means = counts @ values
        at_points = values[sample]
        weights = _control_weights(at_points @ combinations, at_points[:, 0])
        out[i] = means[0] - weights @ (means @ combinations - known[:, i])
    return out


def _joint_sums(t: Array, c: int, unions: list[Callable[[Array], Array]]) -> Array:
    """Return S_1, S_2, … from the tails of unions U_n = Σ_j (−1)^{j+1} C(c − j, n − j) S_j."""
    sums = [c * 2 * special.ndtr(-t)]
    for n, union in enumerate(unions, start=2):
        rest = union(t)
        for j, one in enumerate(sums, start=1):
            rest = rest - (-1) ** (j + 1) * math.comb(c - j, n - j) * one
        sums.append((-1) ** (n + 1) * rest)
    return np.array(sums)


def _control_weights(controls: Array, values: Array) -> Array:
    """Return the weights by which controls foretell values best, by least squares."""
    controls, values = controls - controls.mean(axis=0), values - values.mean()
    scale = np.sqrt((controls**2).mean(axis=0))
    if not scale[0] > 0:
        return np.asarray((-1.0) ** np.arange(len(scale)))
    told = scale > _SINGULAR * scale[0]
    weights = np.zeros(len(scale))
    weights[told] = np.linalg.lstsq(controls[:, told] / scale[told], values, rcond=1e-8)[0] / scale[told]
    return weights

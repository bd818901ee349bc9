"""Where statsmodels' MixedLM has its parameters and random effects, and where the design has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.given_parameters import Direction

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """One variance component.

    Attributes
    ----------
    name : str
    term : int
        Number of its term in the design.
    group_of_level : ndarray of int (L,)
        Group, by number, of each level of the term.
    names : tuple of tuple of str
        Names of its coefficients by level; the term may have more effects, whose columns are zeros there.
    """

    name: str
    term: int
    group_of_level: NDArray[np.intp]
    names: tuple[tuple[str, ...], ...]

    def levels_by_group(self, n_groups: int) -> list[NDArray[np.intp]]:
        """Return the levels of each group."""
        count = np.bincount(self.group_of_level, minlength=n_groups)
        return np.split(np.argsort(self.group_of_level, kind="stable"), np.cumsum(count)[:-1])


@dataclass(frozen=True)
class Block:
    """Correlated random effects that share a term of the design.

    Attributes
    ----------
    term : int
    places : tuple of int
        Among the random effects of MixedLM.
    effects : tuple of int
        Among those of the term.
    group_of_level : ndarray of int (L,)
    """

    term: int
    places: tuple[int, ...]
    effects: tuple[int, ...]
    group_of_level: NDArray[np.intp]


@dataclass(frozen=True)
class Layout:
    """The parts of a model as MixedLM has them.

    Attributes
    ----------
    group_labels : tuple
        The groups, sorted.
    group_sizes : tuple of int
    fe_names : tuple of str
        All coefficients, those that are fixed at zero included.
    fe_kept : tuple of int
        Which of them the design has.
    re_names, re_full_names : tuple of str
        Of the random effects and of the elements of their covariance.
    blocks : tuple of Block
    components : tuple of Component
    """

    group_labels: tuple[Any, ...]
    group_sizes: tuple[int, ...]
    fe_names: tuple[str, ...]
    fe_kept: tuple[int, ...]
    re_names: tuple[str, ...]
    re_full_names: tuple[str, ...]
    blocks: tuple[Block, ...] = ()
    components: tuple[Component, ...] = ()

    @property
    def k_fe(self) -> int:
        """Number of coefficients."""
        return len(self.fe_names)

    @property
    def k_re(self) -> int:
        """Number of correlated random effects of a group."""
        return len(self.re_names)

    @property
    def k_re2(self) -> int:
        """Number of elements of their covariance."""
        return self.k_re * (self.k_re + 1) // 2

    @property
    def k_vc(self) -> int:
        """Number of variance components."""
        return len(self.components)

    @property
    def vc_names(self) -> tuple[str, ...]:
        """Names of the variance components."""
        return tuple(c.name for c in self.components)

    @property
    def param_names(self) -> list[str]:
        """Names of all parameters, in the order of statsmodels' ``params``."""
        return [*self.fe_names, *self.re_full_names, *(f"{name} Var" for name in self.vc_names)]

    def directions(self, usable: Sequence[bool]) -> tuple[list[int], list[Direction]]:
        """Return places among the packed variance parameters, and what each multiplies in its term.

        Parameters
        ----------
        usable : sequence of bool
            Of each term, whether its parameters are wanted.
        """
        places, directions = [], list[Direction]()
        rows, columns = np.tril_indices(self.k_re)
        number = {pair: i for i, pair in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
        for block in self.blocks:
            if not usable[block.term]:
                continue
            for own, at in zip(block.places, block.effects, strict=True):
                for other, there in zip(block.places, block.effects, strict=True):
                    if (own, other) in number:
                        matrix = np.zeros((len(block.places),) * 2)
                        matrix[at, there] = matrix[there, at] = 1.0
                        places.append(number[own, other])
                        directions.append((block.term, matrix))
        for i, component in enumerate(self.components):
            if usable[component.term]:
                width = max(map(len, component.names))
                places.append(self.k_re2 + i)
                directions.append((component.term, np.eye(width)))
        order = np.argsort(places)
        return [places[i] for i in order], [directions[i] for i in order]

    def covariances(self, cov_re: Array, vcomp: Array) -> list[Array]:
        """Return the covariance of each term of the design."""
        out: dict[int, Array] = {}
        for block in self.blocks:
            matrix = np.empty((len(block.places),) * 2)
            matrix[np.ix_(block.effects, block.effects)] = cov_re[np.ix_(block.places, block.places)]
            out[block.term] = matrix
        for component, variance in zip(self.components, vcomp, strict=True):
            out[component.term] = variance * np.eye(max(map(len, component.names)))
        return [out[i] for i in range(len(out))]

    def components_of(self, covariances: Sequence[Array]) -> tuple[Array, Array]:
        """Return `cov_re` and `vcomp` of the covariance of each term: what `covariances` undoes."""
        cov_re = np.zeros((self.k_re, self.k_re))
        for block in self.blocks:
            own = covariances[block.term][np.ix_(block.effects, block.effects)]
            cov_re[np.ix_(block.places, block.places)] = own
        return cov_re, np.array([covariances[c.term][0, 0] for c in self.components])


def full_names(re_names: Sequence[str]) -> tuple[str, ...]:
    """Return statsmodels' names of the elements of the covariance of random effects."""
    return tuple(
        f"{re_names[i]} Var" if i == j else f"{re_names[j]} x {re_names[i]} Cov"
        for i in range(len(re_names))
        for j in range(i + 1)
    )


def sorted_labels(labels: Sequence[Any]) -> tuple[list[Any], NDArray[np.intp]]:
    """Return labels of groups in their order, as they are where they cannot be compared, and their places."""
    try:
        out = sorted(labels)
    except TypeError:
        out = list(labels)
    place = {label: i for i, label in enumerate(out)}
    return out, np.array([place[label] for label in labels], dtype=np.intp)

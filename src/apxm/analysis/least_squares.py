"""Least squares of a model that is not linear, for a handful of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Vector = Sequence[float]
Matrix = Sequence[Vector]

_MOST_STEPS = 40
SETTLED = 1e-7
_MOST_DAMPING = 1e9


class Fit(NamedTuple):
    numbers: tuple[float, ...]
    residuals: tuple[float, ...]
    jacobian: Matrix
    """Its columns, at the numbers."""

    def covariance(self, groups: Sequence[int]) -> list[list[float]]:
        """That of the numbers, where residuals of the same group may have anything in common: the jackknife, which
        leaves out each group once, by one step of the fit (what is known as CR3).

        One group that decides a number alone is thereby seen to, which the usual sandwich of sums takes for sure.
        """
        size = len(self.numbers)
        whole = _products(self.jacobian)
        members: dict[int, list[int]] = {}
        for i, group in enumerate(groups):
            members.setdefault(group, []).append(i)
        moves: list[list[float]] = []
        for rows in members.values():
            own = [[column[i] for i in rows] for column in self.jacobian]
            less = _products(own)
            rest = inverted([[whole[i][j] - less[i][j] for j in range(size)] for i in range(size)])
            pull = [sum(a * self.residuals[i] for a, i in zip(column, rows, strict=True)) for column in own]
            moves.append([sum(a * b for a, b in zip(row, pull, strict=True)) for row in rest])
        share = (len(moves) - 1) / len(moves)
        return [[share * sum(move[i] * move[j] for move in moves) for j in range(size)] for i in range(size)]

    @property
    def squares(self) -> float:
        return sum(residual * residual for residual in self.residuals)


def least_squares(
    residuals: Callable[[Vector], Sequence[float]], start: Vector, scales: Vector, settled: float = SETTLED
) -> Fit:
    """The numbers, none below 0, that make the sum of squared residuals least, near `start` (Levenberg, Marquardt).

    `scales` are changes of each number that surely show, and surely are small. A step that lowers the sum by less than
    the part `settled` of it is the last one.
    """
    numbers = tuple(max(0.0, number) for number in start)
    found = tuple(residuals(numbers))
    damping = 1e-3
    for _ in range(_MOST_STEPS):
        jacobian = _jacobian(residuals, numbers, found, scales)
        normal = _products(jacobian)
        gradient = [sum(a * r for a, r in zip(column, found, strict=True)) for column in jacobian]
        before = sum(r * r for r in found)
        while damping < _MOST_DAMPING:
            damped = [[each * (1 + damping * (i == j)) for j, each in enumerate(row)] for i, row in enumerate(normal)]
            # What is at its bound, and would go beyond it, stays there.
            free = [i for i, number in enumerate(numbers) if number > 0 or gradient[i] < 0]
            step = _solved([[damped[i][j] for j in free] for i in free], [-gradient[i] for i in free])
            moved = list(numbers)
            for i, change in zip(free, step, strict=True):
                moved[i] = max(0.0, moved[i] + change)
            other = tuple(residuals(moved))
            after = sum(r * r for r in other)
            if after < before:
                break
            damping *= 8
        else:
            return Fit(numbers, found, jacobian)
        numbers, found = tuple(moved), other
        damping = max(1e-9, damping / 16)
        if before - after <= settled * before:
            break
    return Fit(numbers, found, _jacobian(residuals, numbers, found, scales))


def _jacobian(
    residuals: Callable[[Vector], Sequence[float]], numbers: Vector, found: Vector, scales: Vector
) -> list[list[float]]:
    """Its columns, by differences forward."""
    columns: list[list[float]] = []
    for i, scale in enumerate(scales):
        by = max(scale, 0.002 * numbers[i])
        other = residuals([number + by * (i == j) for j, number in enumerate(numbers)])
        columns.append([(b - a) / by for a, b in zip(found, other, strict=True)])
    return columns


def _products(columns: Matrix) -> list[list[float]]:
    return [[sum(a * b for a, b in zip(left, right, strict=True)) for right in columns] for left in columns]


def _solved(matrix: Matrix, right: Vector) -> list[float]:
    """x of Ax = b, for a symmetric A without negative curvature; 0 for what nothing is said of."""
    inverse = inverted(matrix)
    return [sum(a * b for a, b in zip(row, right, strict=True)) for row in inverse]


def inverted(matrix: Matrix) -> list[list[float]]:
    """The inverse of a symmetric matrix that is positive definite, by elimination; where a number has no weight of its
    own beside the others, rows and columns of it are 0."""
    size = len(matrix)
    scale = [each[i] ** 0.5 or 1.0 for i, each in enumerate(matrix)]
    work = [
        [matrix[i][j] / scale[i] / scale[j] for j in range(size)] + [float(i == j) for j in range(size)]
        for i in range(size)
    ]
    dead: list[int] = []
    for i in range(size):
        pivot = work[i][i]
        if pivot < 1e-10:
            dead.append(i)
            continue
        work[i] = [each / pivot for each in work[i]]
        for k in range(size):
            if k != i and work[k][i]:
                factor = work[k][i]
                work[k] = [a - factor * b for a, b in zip(work[k], work[i], strict=True)]
    return [
        [0.0 if i in dead or j in dead else work[i][size + j] / scale[i] / scale[j] for j in range(size)]
        for i in range(size)
    ]


def cholesky(matrix: Matrix) -> list[list[float]]:
    """L of LLᵀ = A; columns of what has no variance are 0."""
    size = len(matrix)
    lower = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            if i == j:
                lower[i][i] = max(0.0, rest) ** 0.5
            elif lower[j][j]:
                lower[i][j] = rest / lower[j][j]
    return lower

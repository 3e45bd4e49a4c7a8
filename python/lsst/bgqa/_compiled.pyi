# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The innermost loops of bgqa, which are in ``src/``.

Arrays are contiguous; one that is not as expected raises `TypeError` or
`ValueError`, which names it.
"""

from typing import final

import numpy as np

# Most rows in a block, and most strips that are found for an extreme.
ROWS_PER_BLOCK: int
MOST_STRIPS: int

@final
class Window:
    """What it takes to count pixels below values in a bracket.

    Parameters
    ----------
    coefficients : `numpy.ndarray`
        Coefficients of the Legendre polynomials of each strip, ``float32``,
        shape (4, strips in a row, rows).
    lengths : `numpy.ndarray`
        Pixels in each strip of a row, ``int64``, shape (strips in a row,).
    weights : `numpy.ndarray`
        Rows of pixels that each row stands for, ``float64``, shape (rows,).
    starts : `numpy.ndarray`
        First row of each block and the end, at most `ROWS_PER_BLOCK` apart,
        ``int64``, shape (blocks of rows + 1,).
    rows : `numpy.ndarray`
        Rows of pixels in each block, ``float64``, shape (blocks of rows,).
    low, high : `numpy.ndarray`
        Bounds of the pixels of each block, ``float32``, shape (strips in a
        row, blocks of rows).
    keep : `numpy.ndarray` or `None`
        The blocks that count, ``bool``, in the shape of the bounds; `None`
        for all.
    first, last : `float`
        The bracket.
    scale : `float`
        What brings differences of values to the order of 1, a power of 2:
        squares of them are then in the range of ``float32``.
    """

    def __new__(
        cls,
        coefficients: np.ndarray,
        lengths: np.ndarray,
        weights: np.ndarray,
        starts: np.ndarray,
        rows: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        keep: np.ndarray | None,
        first: float,
        last: float,
        scale: float,
        /,
    ) -> Window: ...
    def count_below(self, value: float, /) -> float:
        """Count the pixels below a value in the bracket."""

def bound_blocks(coefficients: np.ndarray, starts: np.ndarray, low: np.ndarray, high: np.ndarray, /) -> None:
    """Bound the pixels of blocks of strips.

    Parameters
    ----------
    coefficients, starts : `numpy.ndarray`
        As those of a `Window`; strips of a pixel have one coefficient.
    low, high : `numpy.ndarray`
        Where to put the bounds.
    """

def sum_moments(
    coefficients: np.ndarray,
    near: float,
    weights: np.ndarray,
    arms: np.ndarray,
    sums: np.ndarray,
    first: np.ndarray,
    squares: np.ndarray,
    /,
) -> None:
    """Sum coefficients, their products and first moments over rows.

    Parameters
    ----------
    coefficients : `numpy.ndarray`
        As those of a `Window`; strips of a pixel have one coefficient.
    near : `float`
        What to subtract from the first of the coefficients.
    weights, arms : `numpy.ndarray`
        Weights of rows in sums and in first moments, ``float64``, shape
        (rows,).
    sums, first : `numpy.ndarray`
        Where to put sums and first moments of each coefficient, ``float64``,
        shape (1 or 4, strips in a row).
    squares : `numpy.ndarray`
        Where to put sums of the products of the first coefficient by itself,
        and of 0 and 2, 1 and 1, 1 and 3, 2 and 2, and 3 and 3, ``float64``,
        shape (1 or 6, strips in a row).
    """

def find_highest(
    coefficients: np.ndarray,
    lengths: np.ndarray,
    starts: np.ndarray,
    bounds: np.ndarray,
    keep: np.ndarray | None,
    found: np.ndarray,
    sign: float,
    /,
) -> int:
    """Find the strips with the greatest pixels.

    Parameters
    ----------
    coefficients, lengths, starts, keep : `numpy.ndarray`
        As those of a `Window`.
    bounds : `numpy.ndarray`
        Upper bounds of the pixels of each block, or lower ones if ``sign`` is
        negative, ``float32``, shape (strips in a row, blocks of rows).
    found : `numpy.ndarray`
        Where to put the strip, the row and the pixel in the strip of each,
        the highest first, ``int64``, shape (3, `MOST_STRIPS`).
    sign : `float`
        1, or -1 for the least pixels.

    Returns
    -------
    n : `int`
        How many were found.
    """

def chebyshev_terms(x: np.ndarray, terms: np.ndarray, /) -> None:
    """Evaluate the first of Chebyshev's polynomials.

    Parameters
    ----------
    x : `numpy.ndarray`
        Positions, ``float64``, shape (k,).
    terms : `numpy.ndarray`
        Where to put the values, ``float64``, shape (polynomials, k).
    """

def sum_terms(coefficients: np.ndarray, terms: np.ndarray, out: np.ndarray, /) -> None:
    """Sum the terms in y of a polynomial of a total order, as afw does.

    Parameters
    ----------
    coefficients : `numpy.ndarray`
        Coefficient of T_j(y) T_i(x) at [j, i], ``float64``, shape (n, n);
        those with i + j >= n are passed over.
    terms : `numpy.ndarray`
        Values of T_j(y), ``float64``, shape (n, rows).
    out : `numpy.ndarray`
        Where to put the coefficients of T_i(x), ``float64``, shape (n, rows).
    """

def akima_cubics(x: np.ndarray, y: np.ndarray, out: np.ndarray, /) -> None:
    """Interpolate curves by Akima's method, as GSL does.

    Parameters
    ----------
    x : `numpy.ndarray`
        Positions, ascending, ``float64``, shape (n,), at least 3.
    y : `numpy.ndarray`
        Values, ``float64``, shape (n, curves).
    out : `numpy.ndarray`
        Where to put the coefficients of the powers 1 to 3 between the
        points, at [1:-1, 1:], ``float64``, shape (n + 1, 4, curves).
    """

def combine_cubics(
    coefficients: np.ndarray, terms: np.ndarray, pieces: np.ndarray, out: np.ndarray, /
) -> None:
    """Combine the coefficients of curves that are cubics between breaks.

    Parameters
    ----------
    coefficients : `numpy.ndarray`
        Coefficients of the powers 0 to 3, ``float64``, shape (pieces, 4,
        curves).
    terms : `numpy.ndarray`
        Weights of the coefficients in each of 4 sums, ``float64``, shape (k,
        4, 4).
    pieces : `numpy.ndarray`
        The piece that is combined, ``int64``, shape (k,).
    out : `numpy.ndarray`
        Where to put the sums, ``float32``, shape (k, 4, curves).
    """

def evaluate_cubics(
    coefficients: np.ndarray, distances: np.ndarray, pieces: np.ndarray, out: np.ndarray, /
) -> None:
    """Evaluate curves that are cubics between breaks, as GSL does.

    Parameters
    ----------
    coefficients : `numpy.ndarray`
        Coefficients of the powers 0 to 3 of the distance from a piece's
        origin, ``float64``, shape (pieces, 4, curves).
    distances : `numpy.ndarray`
        That distance of each position, ``float64``, shape (k,).
    pieces : `numpy.ndarray`
        The piece that each position lies in, ``int64``, shape (k,).
    out : `numpy.ndarray`
        Where to put the values, ``float64`` or rounded to ``float32``, shape
        (curves, k).
    """

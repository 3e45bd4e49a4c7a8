# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Detectors judged in the context of their visit, patches in their tract's."""

from __future__ import annotations

__all__ = (
    "CELLS",
    "SMOOTH",
    "Member",
    "judge_members",
    "level_deviations",
    "local_excess",
    "measure_alone",
    "measure_together",
    "order_corners",
)

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..statistics.robust import median
from .bins import Bins
from .causes import Remainder, main_cause, without_causes
from .field import fit_field, fit_levels, robust_scale, surroundings
from .settings import JudgeSettings
from .significance import Finding, find, fit_scales, largest_hole, sharpen
from .templates import DIGITS, TemplateBank, make_bank, polynomials, rough_part
from .verdict import Thresholds, judge_rows

# Without the context of a visit, what is smooth says nothing.
_ORDER_ALONE = 3
_MIN_FIELD = 4
_MIN_SHARED = 7
_MAX_CAUSES = 4
# Fewer do not tell the noise.
_FEW_PEERS = 5
# Patterns that all detectors have are not told from faults without peers.
_FLOOR_ALONE = 2.0
_LEFT = 0.5
_MIN_SIDE = 5
_KIND_ITERATIONS = 5
_MIN_CONTRAST = 3.0

SMOOTH = ("context_slopeX", "context_slopeY", "context_curvature")
"""Metrics of what is smooth in a detector (`tuple`)."""

CELLS = 8
"""Cells of a detector, a side, that the field is fitted to (`int`)."""


@dataclass(frozen=True, eq=False)
class Member:
    """What is known of one detector or patch.

    Attributes
    ----------
    values
        Metrics of the groups significance and context by full name; the
        amplitudes are in the background's unit.
    places
        Where a family's template stands out.
    """

    values: dict[str, float]
    places: dict[str, str] = field(default_factory=dict)


def measure_alone(bins: Bins, settings: JudgeSettings) -> Member:
    """Measure what stands out of one background, without any other.

    Parameters
    ----------
    bins
        The background's bins.
    settings
        What the measurement depends on.
    """
    level = bins.level
    # What varies as much as its level, a coadd's, has no fractions.
    if not np.isfinite(level):
        return Member({})
    if min(bins.shape) < _MIN_SIDE or not level > _MIN_CONTRAST * float(np.nanstd(bins.values)):
        return Member(_holes(bins))
    residual = _residual(bins, level, True)
    (member,) = _measure_kind(
        [bins],
        [residual],
        [level],
        settings.segments,
        settings.limits,
        _FLOOR_ALONE * settings.floor,
        False,
        np.ones((1, 2)),
    )
    # Of use among others alone, where it is compared with the visit's field.
    member.values["significance_bowlAmplitude"] = _rounded(_bowl(residual) * level)
    return member


def measure_together(
    members: Sequence[Bins],
    corners: Sequence[np.ndarray | None],
    kinds: Sequence[str],
    settings: JudgeSettings,
    reference: float | None = None,
) -> tuple[list[Member], list[Member]]:
    """Measure what stands out of backgrounds that show one sky.

    Parameters
    ----------
    members
        The backgrounds' bins.
    corners
        Corners of each in the tangent plane, shape (4, 2), from the first
        pixel on along x, then y; `None` where not known.
    kinds
        Kind of each; those of one kind are peers.
    settings
        What the measurement depends on.
    reference
        What fractions are of, where it is not the sky's level.

    Returns
    -------
    measured
        Metrics of each.
    shared
        Metrics of what all members of a kind have in common.
    """
    segments, limits, floor = settings.segments, settings.limits, settings.floor
    levels = np.array([bins.level for bins in members])
    known = np.isfinite(levels)
    typical = (
        reference if reference is not None else abs(float(np.median(levels[known]))) if known.any() else 0.0
    )
    measured = [Member(_holes(bins) if ok else {}) for bins, ok in zip(members, known, strict=True)]
    usable = [i for i, bins in enumerate(members) if known[i] and min(bins.shape) >= _MIN_SIDE]
    if not usable or not typical > 0:
        return measured, []
    # Vignetting and gains are factors: a sky is compared by its logarithm.
    factors = reference is None and all(levels[i] > 0.05 * typical for i in usable)
    sizes = [levels[i] if factors else typical for i in usable]
    residuals = [_residual(members[i], size, factors) for i, size in zip(usable, sizes, strict=True)]
    placed = [j for j, i in enumerate(usable) if corners[i] is not None]
    context: dict[int, dict[str, float]] = defaultdict(dict)
    follows = np.zeros(len(usable), dtype=bool)
    excess = np.ones((len(usable), 2))
    if len(placed) >= _MIN_FIELD:
        outlines = np.array([corners[usable[j]] for j in placed])
        grids = [_positions(outline, residuals[j].shape) for outline, j in zip(outlines, placed, strict=True)]
        centers = np.stack([[_cells(grid[..., k]) for grid in grids] for k in (0, 1)], axis=-1)
        # The unit is the radius within which there are cells to fit.
        radius = float(np.nanmax(np.hypot(centers[..., 0], centers[..., 1]))) or 1.0
        outlines, centers, grids = outlines / radius, centers / radius, [grid / radius for grid in grids]
        cells = [_cells(residuals[j]) for j in placed]
        sky = fit_field(centers, np.array(cells))
        left = []
        for grid, j in zip(grids, placed, strict=True):
            residuals[j] = residuals[j] - sky(grid)
            follows[j] = True
            left.append(_cells(residuals[j]))
        middles = outlines.mean(axis=1)
        excess[placed] = local_excess(np.array(left), middles)
        deviations, sigmas = level_deviations(
            levels[[usable[j] for j in placed]],
            middles,
            settings.level_floor,
            None if factors else typical,
            [kinds[usable[j]] for j in placed],
        )
        for j, deviation, sigma in zip(placed, deviations, sigmas, strict=True):
            context[j] = {"context_levelDeviation": float(deviation), "context_levelSigma": float(sigma)}
    groups: dict[tuple[str, tuple[int, ...], bool], list[int]] = defaultdict(list)
    for j, i in enumerate(usable):
        groups[kinds[i], residuals[j].shape, bool(follows[j])].append(j)
    shared: list[Member] = []
    for (_, _, has_field), group in groups.items():
        these = [residuals[j] for j in group]
        found = _measure_kind(
            [members[usable[j]] for j in group],
            these,
            [sizes[j] for j in group],
            segments,
            limits,
            floor,
            has_field,
            excess[group],
            shared,
        )
        for j, member in zip(group, found, strict=True):
            measured[usable[j]] = Member(member.values | context[j], member.places)
    return measured, shared


def level_deviations(
    levels: np.ndarray,
    centers: np.ndarray,
    floor: float,
    reference: float | None = None,
    kinds: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Compare levels with a smooth surface of them.

    Parameters
    ----------
    levels
        Levels of the members, finite.
    centers
        Where they are, in units of the field's radius, shape (members, 2).
    floor
        Least scatter of a deviation.
    reference
        What deviations are fractions of; by default the surface, all levels
        being positive.
    kinds
        Kind of each: what all of a kind, five at least, deviate by is theirs.

    Returns
    -------
    deviations
        Deviations as fractions.
    sigmas
        The same over their robust scatter.
    """
    relative = np.log(levels / np.median(levels)) if reference is None else levels / reference
    own = np.zeros(len(levels))
    deviations = relative - fit_levels(centers, relative)
    alike = [np.array([other == kind for other in kinds]) for kind in sorted(set(kinds))]
    for _ in range(_KIND_ITERATIONS if len(alike) > 1 else 0):
        for members in alike:
            if members.sum() >= _FEW_PEERS:
                own[members] += np.median(deviations[members])
        deviations = relative - own - fit_levels(centers, relative - own)
    deviations = np.expm1(deviations) if reference is None else deviations
    return deviations, deviations / max(robust_scale(deviations), floor)


def judge_members(
    rows: Sequence[Mapping[str, float]],
    members: Sequence[Member],
    names: Sequence[str],
    thresholds: Thresholds,
) -> dict[str, np.ndarray]:
    """Judge backgrounds that were measured together.

    Parameters
    ----------
    rows
        All metrics of each by full name.
    members
        What was measured together.
    names
        Metrics that count.
    thresholds
        What passes.

    Returns
    -------
    columns
        ``verdict``, ``failed`` (metrics, by commas), ``fault`` (words) and
        ``severity`` of each.
    """
    values = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float64)
    judgement = judge_rows(names, values, [""] * len(rows), thresholds)
    numbers = range(len(rows))
    places = [
        {f"significance_{family}Sigma": place for family, place in member.places.items()}
        for member in members
    ]
    return {
        "verdict": np.array(judgement.verdicts, dtype=str),
        "failed": np.array([",".join(judgement.failed(i)) for i in numbers], dtype=str),
        "fault": np.array([judgement.fault(i, rows[i], places[i]) for i in numbers], dtype=str),
        "severity": np.array([judgement.severity(i) for i in numbers], dtype=np.float64),
    }


def order_corners(vertices: np.ndarray, mirrored: bool) -> np.ndarray:
    """Put a region's corners in the order of the pixels'.

    Parameters
    ----------
    vertices
        Corners in the region's order, counterclockwise on the sky, shape (4,
        ...).
    mirrored
        Whether x is to the east if y is to the north.

    Returns
    -------
    corners
        From the first pixel on along x, then y, of the same shape.
    """
    return vertices[[0, 1, 2, 3] if mirrored else [1, 0, 3, 2]]


def _holes(bins: Bins) -> dict[str, float]:
    missing = ~np.isfinite(bins.values)
    return {
        "significance_missingFraction": float(missing.mean()),
        "significance_holeFraction": largest_hole(missing) / missing.size,
    }


def _residual(bins: Bins, size: float, factors: bool) -> np.ndarray:
    """Return bins less their level, as fractions of the sky."""
    if factors:
        return np.log(np.clip(bins.values / size, 0.02, None))
    return (bins.values - bins.level) / size


def _positions(outline: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the bins' positions, shape (ny, nx, 2)."""
    v, u = ((np.arange(n) + 0.5) / n for n in shape)
    v = v[:, None]
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=-1)
    return weights @ outline


def _cells(values: np.ndarray) -> np.ndarray:
    """Average over a few cells; NaN where none of the bins has a value."""
    ny, nx = values.shape
    rows, columns = (np.minimum(np.arange(n) * CELLS // n, CELLS - 1) for n in (ny, nx))
    cell = (rows[:, None] * CELLS + columns).ravel()
    flat = values.ravel()
    good = np.isfinite(flat)
    counts = np.bincount(cell[good], minlength=CELLS**2)
    sums = np.bincount(cell[good], weights=flat[good], minlength=CELLS**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)


def local_excess(cells: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Tell where detectors follow a field less well.

    Parameters
    ----------
    cells
        What the field leaves of cells of each detector, shape (detectors,
        cells).
    middles
        Where they are, in units of the field's radius, shape (detectors, 2).

    Returns
    -------
    excess
        How much more those around each, or as far from the field's centre,
        deviate from the field than detectors elsewhere, in slope and
        otherwise; at least one. Shape (detectors, 2).
    """
    basis = polynomials((CELLS, CELLS), 1)
    filled = np.nan_to_num(cells - np.nanmean(cells, axis=1)[:, None])
    plane = filled @ basis[:, 1:]
    rest = rough_part(basis, filled)
    sizes = np.stack([np.hypot(*plane.T), np.sqrt((rest**2).mean(axis=1))], axis=1)
    usual = np.maximum(np.median(sizes, axis=0), 1e-12)
    here = np.max([np.median(sizes[near], axis=1) for near in surroundings(middles)], axis=0)
    return np.asarray(np.maximum(here / usual / 1.3, 1.0))


def _measure_kind(
    members: Sequence[Bins],
    residuals: Sequence[np.ndarray],
    sizes: Sequence[float],
    segments: tuple[int, int] | None,
    limits: Mapping[str, float],
    floor: float,
    follows: bool,
    excess: np.ndarray,
    shared: list[Member] | None = None,
) -> list[Member]:
    """Measure peers: the same grid, the same kind."""
    shape = members[0].shape
    bank = make_bank(shape, segments, 1 if follows else _ORDER_ALONE)
    filled = np.stack([_fill(bank, residual) for residual in residuals])
    formal = _formal(members, sizes)
    if shared is not None and len(members) >= _MIN_SHARED:
        flat = filled.reshape(len(filled), -1)
        local = rough_part(bank.basis[:, :3], flat)
        pattern = np.median(local, axis=0)
        flat -= pattern
        shared += _shared(
            bank, local, pattern.reshape(shape), members[0], float(np.median(sizes)), limits, floor, segments
        )
    if not follows:
        # What is smooth bends at the borders, and is no bin's.
        filled = np.round(rough_part(bank.basis, filled), DIGITS)
    remainders = Remainder.of(bank, filled)
    quiet = remainders
    if len(members) < _FEW_PEERS:
        quiet = [without_causes(remainder, limits, formal, floor, _MAX_CAUSES) for remainder in remainders]
    scales = fit_scales(
        bank,
        np.stack([remainder.projections for remainder in quiet]),
        np.stack([remainder.sharp for remainder in quiet]),
        formal,
        floor,
    )
    measured = []
    for k, (bins, size) in enumerate(zip(members, sizes, strict=True)):
        causes: dict[str, Finding] = {}
        here = remainders[k]
        smooth = np.zeros(len(bank.templates))
        while True:
            findings = find(bank, scales, here.projections, here.sharp, tuple(excess[k]))
            # No template is quite the fault: some of it is left.
            left = _LEFT * max((abs(finding.sigma) for finding in causes.values()), default=0.0)
            cause = main_cause(findings, {family: limit + left for family, limit in limits.items()})
            if cause is None or cause.template.family in causes or len(causes) >= _MAX_CAUSES:
                break
            causes[cause.template.family] = cause
            before, here = here, here.without(cause, scales.bins)
            if cause.template.family in ("gradient", "bowl"):
                smooth += before.projections - here.projections
        values = _holes(bins)
        if follows:
            # Without what local causes add to them.
            smooth = (here.projections + smooth) / bank.norms
            slopes, bowl = smooth[bank.families["gradient"]], smooth[bank.families["bowl"]]
            values |= dict(zip(SMOOTH, [*slopes.tolist(), *bowl.tolist()], strict=True))
        places = {}
        for family, finding in (findings | causes).items():
            # What a found cause leaves is part of that cause.
            limit = limits.get(family, np.inf)
            sigma = finding.sigma if family in causes else min(max(finding.sigma, -limit), limit)
            values[f"significance_{family}Amplitude"] = finding.amplitude * size
            values[f"significance_{family}Sigma"] = sigma
            places[family] = _place(finding, bins, segments)
        values["significance_reducedChi2"] = _chi2(filled[k], bank, bins, size)
        measured.append(
            Member({name: _rounded(value) for name, value in values.items() if np.isfinite(value)}, places)
        )
    return measured


def _bowl(residual: np.ndarray) -> float:
    """Return the amplitude of a bowl, a plane taken off."""
    v, u = ((2 * np.arange(n) + 1 - n) / n for n in residual.shape)
    terms = np.ones((4, *residual.shape))
    terms[1], terms[2], terms[3] = u, v[:, None], 1 - (u**2 + v[:, None] ** 2) / 2
    good = np.isfinite(residual)
    terms = terms[:, good]
    normal, right = np.einsum("ik,jk->ij", terms, terms), np.einsum("ik,k->i", terms, residual[good])
    return float(_solve(normal, right)[-1])


def _solve(normal: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations of terms that are of one size and not nearly alike:
    their sums of products lose nothing, and LAPACK starts no threads for so few.
    """
    return np.asarray(np.linalg.lstsq(normal, right, rcond=None)[0])


def _rounded(value: float) -> float:
    """Leave the digits that do not depend on the order of sums."""
    return float(f"{value:.5g}")


def _fill(bank: TemplateBank, residual: np.ndarray) -> np.ndarray:
    """Fill what is missing with a smooth fit, and take the mean off."""
    flat = residual.ravel()
    good = np.isfinite(flat)
    if good.all():
        return residual - residual.mean()
    basis, known = bank.basis, np.where(good, flat, 0.0)
    # The basis is orthonormal over all bins.
    missing = basis[~good]
    normal = np.eye(basis.shape[1]) - np.einsum("ki,kj->ij", missing, missing)
    filled = np.where(good, flat, basis @ _solve(normal, np.einsum("ki,k->i", basis, known)))
    return (filled - filled.mean()).reshape(residual.shape)


def _formal(members: Sequence[Bins], sizes: Sequence[float]) -> float:
    errors = np.concatenate(
        [bins.errors[bins.errors > 0] / size for bins, size in zip(members, sizes, strict=True)]
    )
    return median(errors) if len(errors) else 0.0


def _shared(
    bank: TemplateBank,
    local: np.ndarray,
    pattern: np.ndarray,
    example: Bins,
    size: float,
    limits: Mapping[str, float],
    floor: float,
    segments: tuple[int, int] | None,
) -> list[Member]:
    """Measure what all members have in common."""
    noise = (local - pattern.ravel()).reshape(-1, *bank.shape)
    scales = fit_scales(bank, bank.project(noise), sharpen(noise), 0.0, floor)
    (common,) = Remainder.of(bank, pattern[np.newaxis])
    cause = main_cause(find(bank, scales, common.projections, common.sharp), limits)
    if cause is None:
        return []
    family = cause.template.family
    values = {
        f"significance_{family}Amplitude": cause.amplitude * size,
        f"significance_{family}Sigma": cause.sigma,
    }
    return [Member(values, {family: _place(cause, example, segments)})]


def _chi2(filled: np.ndarray, bank: TemplateBank, bins: Bins, size: float) -> float:
    """Return the mean square of the residuals in units of their errors."""
    good = np.isfinite(bins.values) & (bins.errors > 0)
    if good.sum() < 10:
        return np.nan
    rest = rough_part(bank.basis, filled[np.newaxis])[0]
    return float(np.mean((rest[good] * size / bins.errors[good]) ** 2))


def _place(finding: Finding, bins: Bins, segments: tuple[int, int] | None) -> str:
    """Say where a template is."""
    template = finding.template
    ny, nx = bins.shape
    x = bins.bbox.x0 + (template.column + 0.5) * bins.bbox.width / nx
    y = bins.bbox.y0 + (template.row + 0.5) * bins.bbox.height / ny
    if template.family == "corner":
        vertical = "upper" if template.row > ny / 2 else "lower"
        return f"{vertical} {'right' if template.column > nx / 2 else 'left'}"
    if template.family == "segment":
        if template.row < 0:
            return f"column {template.column:.0f} of amplifiers"
        if template.column < 0:
            return f"row {template.row:.0f} of amplifiers"
        count = segments[0] if segments else (4 if template.scale < 3 else 8)
        return f"amplifier {template.row * count + template.column:.0f}"
    if template.family == "stripe":
        return f"x = {x:.0f}" if template.row < 0 else f"y = {y:.0f}"
    if template.family in ("spot", "ring", "bin"):
        return f"({x:.0f}, {y:.0f})"
    return ""

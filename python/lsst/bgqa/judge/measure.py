# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("measure_background", "measure_significance")

from ..background import BackgroundModel
from ..metrics import Quantities, to_quantities
from ..statistics import StatisticsConfig, background_statistics
from .bins import Bins
from .settings import JudgeSettings
from .visit import measure_alone


def measure_significance(model: BackgroundModel, settings: JudgeSettings | None = None) -> dict[str, float]:
    """Measure what stands out of one background by itself.

    Parameters
    ----------
    model
        The background.
    settings
        What the measurement depends on.

    Returns
    -------
    metrics
        Values of the group significance by full name.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if a layer cannot be evaluated.
    """
    settings = settings or JudgeSettings()
    return measure_alone(Bins.of(model), settings).values


def measure_background(model: BackgroundModel, config: StatisticsConfig | None = None) -> Quantities:
    """Measure a background.

    Parameters
    ----------
    model
        The background.
    config
        What to measure.

    Returns
    -------
    metrics
        Values by full name, in catalogue order; undefined ones are left out.
        A background without a finite pixel has a coverage, and missing bins,
        alone.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if a layer cannot be evaluated.

    Examples
    --------
    >>> measure_background(background)["level_median"]  # doctest: +SKIP
    <Quantity 1200.9476 adu>
    """
    values = background_statistics(model, config)
    values |= measure_significance(model, JudgeSettings(config.segments if config is not None else None))
    return to_quantities(values, model.unit)

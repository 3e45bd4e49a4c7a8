# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Figures of backgrounds and coadds, as pure functions.

Every function returns a `matplotlib.figure.Figure` made without pyplot, so
that nothing is kept between figures and no display is needed. None draws an
image at full resolution: backgrounds are evaluated, and images averaged, at
the resolution of the figure.
"""

from ._background import *
from ._bumps import *
from ._campaign import *
from ._closure import *
from ._difference import *
from ._histogram import *
from ._overview import *
from ._residual import *
from ._style import MAX_CELLS as MAX_CELLS
from ._subtracted import *

# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Pipeline tasks, one a module: connections, configuration, task."""

from .. import standalone
from ._coadds import CoaddImage as CoaddImage
from .background_qa import *
from .coadd_background_qa import *
from .coadd_residual_sky import *
from .gather_background_metrics import *
from .gather_residual_sky import *
from .plot_background import *
from .plot_coadd_background import *
from .plot_residual_sky import *
from .residual_sky import *
from .stack_backgrounds import *
from .tract_background_qa import *
from .visit_background_qa import *

# pipetask and bps import these modules before their Butler reads anything.
standalone.adopt_formatters()

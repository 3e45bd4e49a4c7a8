# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Numbers from the residual sky in an image after the subtraction."""

from ._apertures import *
from ._blocks import *
from ._calibration import *
from ._cells import *
from ._config import *
from ._crowding import *
from ._halo import *
from ._image import *
from ._mask import *
from ._measure import *

# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a background is: layers of grids, or fields, evaluated exactly as
afw and lsst.images do.
"""

from ._errors import *
from ._images import FieldLayer as FieldLayer
from ._layer import *
from ._model import *
from ._surfaces import *

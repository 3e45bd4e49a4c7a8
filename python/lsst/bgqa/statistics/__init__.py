# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Numbers from a background, without its full-resolution image."""

from ._background import *
from ._config import *
from ._distribution import *
from .closure import *
from .quantization import *

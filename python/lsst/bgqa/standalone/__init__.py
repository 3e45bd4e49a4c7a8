# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The stack's dataset types on a machine without the stack.

A folder of Butler configuration tells the Butler which types and formatters
to use for ``Background``, ``ExposureF`` and ``MetricMeasurementBundle``.
The files that they read and write are the stack's own.
"""

from ._environment import *
from ._recorded import *

# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A repository to try bgqa on: a small simulated survey with known faults."""

from ._camera import *
from ._coadds import *
from ._generations import *
from ._images import *
from ._measure import *
from ._repository import *
from ._sky import *
from ._survey import *
from ._visit_images import *

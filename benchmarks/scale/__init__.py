# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a campaign costs, from hundreds of quanta to a million rows."""

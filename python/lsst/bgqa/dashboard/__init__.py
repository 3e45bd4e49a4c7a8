# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""For those who read metrics: the campaign tables of a collection, and what is made of them.

One table is in the middle. Whatever is shown, exported or compared is read
from campaign tables: Parquet files with a row an image, as the gather tasks
write them. What a collection has not gathered, or has newer metrics of, the
same tasks gather into a temporary file first; there is no other reader.

``campaign`` finds the tables of a collection, ``table`` reads one of them: as a
whole, a few columns at a time (``scan``), or all columns some thousand rows at
a time (``frames``), so that memory stays small however many rows there are.
``queries`` asks a table what a report shows, with Polars, as all do; ``report``,
``export``, ``compare`` and ``requirement`` say what came out.
"""

from .campaign import *

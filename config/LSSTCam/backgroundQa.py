# The sixteen amplifiers of a science detector are in two rows of eight.
config.statistics.segments = [8, 2]

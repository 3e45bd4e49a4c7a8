# The four amplifiers of an HSC detector lie side by side in x.
config.statistics.segments = [4, 1]

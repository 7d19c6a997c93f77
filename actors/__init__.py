"""The actors: each a thin shell round the pure core of `gpuyard.actors.model`."""

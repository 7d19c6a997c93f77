"""The demonstration: a small real training, and what `gpuyard demo` shows of it."""

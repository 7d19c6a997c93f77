"""What `gpuyard doctor` looks at: one small check a thing, each answering findings that say what to do."""

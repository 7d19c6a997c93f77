"""The keeper program: one small process a run. Standard library only; see `__main__.py` for how it is started."""

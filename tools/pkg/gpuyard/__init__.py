"""gpuyard shares GPUs between people and their training jobs.

The four sub-packages are committed links to the folders at the top of the repository
(see CONTRIBUTING, "Why the package is a folder of links").
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]

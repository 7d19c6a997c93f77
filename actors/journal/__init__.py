"""The worker's journal on the disk: see `file.py`; what stands in it is `actors/model/agent/journal.py`."""

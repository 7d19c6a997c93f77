"""The parts of the Scheduler actor; what it decides by is `actors/model`."""

"""One file a verb (or a small family); `cli/registry.py` names them, and a file is read only when its verb is used."""

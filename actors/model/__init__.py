"""The pure core: no input or output, no thread, no clock read (DESIGN 2)."""

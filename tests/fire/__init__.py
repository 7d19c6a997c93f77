"""Under fire: servers that are killed, disks that fail. The engines; `tools/` has their long forms."""

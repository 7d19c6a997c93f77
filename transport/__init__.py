"""How messages travel between processes: frames, the local link, remote references."""

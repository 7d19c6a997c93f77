"""Answers about blobs. A blob is called by a hash over its size and its pieces (`actors/blobs/digest.py`)."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class BlobManifest(View, frozen=True, kw_only=True):
    """`chunks` are the BLAKE2b-256 hashes (32 bytes each) of its pieces of 256 KiB, one behind the other."""

    size: int
    chunks: bytes


class BlobChunk(View, frozen=True, kw_only=True):
    data: bytes


class BlobStored(View, frozen=True, kw_only=True):
    blob: str
    size: int


class BlobFetched(View, frozen=True, kw_only=True):
    """`path` is where the content lies (read only: copy it, don't move it)."""

    blob: str
    path: str
    size: int

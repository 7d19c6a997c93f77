"""Blobs: job files by their content, which a worker fetches before it starts a run."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class GetManifest(Message, frozen=True, kw_only=True):
    """What a blob is made of. From: a worker's blobs. To: the server's. Reply: BlobManifest. Errors: NotFound.

    Repeat: harmless.
    """

    blob: str


class ReadChunk(Message, frozen=True, kw_only=True):
    """Chunk number `index` (from 0) of a blob. From: a worker's blobs. To: the server's. Reply: BlobChunk.

    Errors: NotFound. Repeat: harmless.
    """

    blob: str
    index: int


class FetchBlob(Message, frozen=True, kw_only=True):
    """Have this blob here, whole and checked. From: the agent. To: the worker's blobs. Reply: BlobFetched.

    Answered once it is there; what was fetched before a break stays and is not fetched again. A break of the link is
    waited out. Errors: NotFound (the server has no such blob), InvalidInput (its content is not what it should be),
    StoreFailed (the disk). Repeat: the answer comes to both.
    """

    blob: str


class StoreFile(Message, frozen=True, kw_only=True):
    """Take a file into the blobs. From: Frontend. To: the server's blobs. Reply: BlobStored.

    `path` is a file on the server. Errors: NotFound, InvalidInput (no plain file, larger than `limit` bytes),
    StoreFailed. Repeat: the same content is the same blob.
    """

    path: str
    limit: int


class KeepBlobs(Message, frozen=True, kw_only=True):
    """All blobs but these (and young ones) may go. From: whoever knows the jobs. To: blobs. Repeat: harmless."""

    blobs: tuple[str, ...] = ()


class ListBlobs(Message, frozen=True, kw_only=True):
    """The blobs that stored jobs brought along. From: the server's blobs. To: History. Reply: list of their names.

    Repeat: harmless.
    """

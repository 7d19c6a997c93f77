"""TLS of the client: whom it believes, and what went wrong in words. Loaded only for an https server."""

from __future__ import annotations

import ssl

from gpuyard.cli.exits import ExitCode, Failure


def context(cacert: str | None) -> ssl.SSLContext:
    """TLS that believes the system's authorities, or only those in the file `cacert`. Raises Failure."""
    try:
        made = ssl.create_default_context(cafile=cacert)
    except OSError as error:
        why = "it holds no certificate (PEM)" if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise Failure(
            f"cannot read {cacert}", why, "name a PEM file: --cacert FILE (GPUYARD_CACERT)", ExitCode.USAGE
        ) from None
    if cacert is not None:
        # Whoever was named is believed, the server's own certificate too, whatever their extensions lack.
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def in_words(error: OSError, patience: float) -> tuple[str, str]:
    """Why no connection came about, and what to do about it ("" for the usual)."""
    from gpuyard.cli.http import broken

    if isinstance(error, ssl.SSLCertVerificationError):
        return _unbelieved(error)
    if isinstance(error, (ssl.SSLError, ConnectionResetError, BrokenPipeError)):
        if getattr(error, "reason", "") in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
            return (
                "what answers there does not speak TLS",
                "is it the right port? A server without TLS has an http:// address",
            )
        return f"no TLS connection came about ({getattr(error, 'reason', None) or error})", ""
    return broken(error, patience), ""


def _unbelieved(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Sentences for what happens in life; OpenSSL's own for the rest."""
    match error.verify_code:
        case 18 | 19 | 20 | 21:
            return (
                "nobody whom this machine believes vouches for its certificate",
                "bring its certificate, or that of your authority, and name it: --cacert FILE (GPUYARD_CACERT)",
            )
        case 10:
            return "its certificate has expired", "tell its administrator: a renewed one is in use at once"
        case 9:
            return "its certificate is not valid yet", "is this machine's clock right?"
        case 62 | 64:
            return (
                f"its certificate is for another name ({error.verify_message})",
                "use a name that stands in it: --server",
            )
        case _:
            return f"its certificate is not believed: {error.verify_message}", ""

"""What the Frontend needs to know, handed over by the supervisor as JSON: no secret is in it."""

from __future__ import annotations

import msgspec

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The API's settings. Times in seconds, sizes in bytes.

    `configs_dir` is where `config_name` is looked up. `launch_command` starts a SimpleTuner config. `started_at`
    (epoch seconds) is the supervisor's start. `allowed_hosts` are names beyond the loopback ones that a request may
    carry in `Host` (without port; `*.lab` is any name right below `lab`). `peer_uid` None takes this process's user.
    `time_zone` is that of queue windows which name none ("": this machine's).

    `network`: others than this machine's users may reach the server, so nobody is its owner without a password.
    `ssl_cert` and `ssl_key` are PEM files ("" without TLS; an empty key stands in the certificate's file).
    `trusted_proxies` (addresses, CIDRs) are believed what they say of whom they forward; `behind_tls_proxy` says that
    they do the TLS.
    """

    data_dir: str = ""
    configs_dir: str = ""
    launch_command: tuple[str, ...] = ("simpletuner", "train")
    started_at: float = 0.0
    version: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    peer_uid: int | None = None
    time_zone: str = ""
    network: bool = False
    ssl_cert: str = ""
    ssl_key: str = ""
    behind_tls_proxy: bool = False
    trusted_proxies: tuple[str, ...] = ()
    user_max_pending: int = 10_000
    ask_timeout: float = 10.0
    body_limit: int = 256 * 1024
    submit_list_limit: int = 8 * 1024 * 1024
    body_timeout: float = 20.0
    rate_per_second: float = 50.0
    rate_burst: int = 200
    max_requests: int = 1_000
    max_streams: int = 256
    max_streams_of_one: int = 64
    keepalive_seconds: float = 15.0

"""How to reach a server, and what goes with every call to it."""
from __future__ import annotations

import dataclasses
import ipaddress
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio

Metadata: TypeAlias = Sequence[tuple[str, str]]
Token: TypeAlias = str | Callable[[], str]

#: gRPC's own limit of 4 MiB is too little for a Score of a long prompt with many log-probabilities.
MAX_ANSWER_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class TLS:
    """Paths of PEM files. TLS() trusts the authorities that gRPC brings along."""

    #: Certificates of the authorities that may have signed the server's.
    ca: str | os.PathLike[str] | None = None
    #: Mutual TLS: the client's certificate, with those between it and the authority, and its key.
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    #: The name in the server's certificate, where it is not the one in the address.
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("expected a client certificate and its key, found one of them; give TLS both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError if a file can't be read."""
        pems = [None if path is None else pathlib.Path(path).read_bytes()
                for path in (self.ca, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*pems)


def is_local(target: str) -> bool:
    """A socket of this machine: loopback or unix."""
    if re.match(r"unix(-abstract)?:", target):
        return True
    address = re.sub(r"^(dns:(//[^/]*/)?|ipv[46]:)", "", target)
    host = re.sub(r":\d+$", "", address) if address.count(":") == 1 or "]" in address else address
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclasses.dataclass(frozen=True)
class Connection:
    """What Client and AsyncClient are made of; Client says what each field means."""

    target: str
    tls: TLS | None
    token: Token | None
    tenant: str | None
    insecure: bool
    options: Sequence[tuple[str, Any]]

    def __post_init__(self) -> None:
        if self.token is not None and self.tls is None and not self.insecure and not is_local(self.target):
            raise ValueError(f"expected TLS to {self.target} since there is a token, found none; pass tls=TLS(…), or "
                             "insecure=True where something else keeps the token secret")

    def channel_options(self) -> list[tuple[str, Any]]:
        options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", MAX_ANSWER_BYTES)]
        if is_local(self.target):
            options.append(("grpc.enable_http_proxy", 0))
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return [*options, *self.options]

    def channel(self) -> grpc.Channel:
        if self.tls is None:
            return grpc.insecure_channel(self.target, self.channel_options())
        return grpc.secure_channel(self.target, self.tls.credentials(), self.channel_options())

    def aio_channel(self) -> grpc.aio.Channel:
        if self.tls is None:
            return grpc.aio.insecure_channel(self.target, self.channel_options())
        return grpc.aio.secure_channel(self.target, self.tls.credentials(), self.channel_options())

    def metadata(self, more: Metadata) -> list[tuple[str, str]]:
        """What goes with one try: a token may change between two."""
        pairs = [("latentd-max-answer-bytes", str(MAX_ANSWER_BYTES)), *more]
        if self.tenant is not None:
            pairs.append(("x-latentd-tenant", self.tenant))
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            pairs.append(("authorization", f"Bearer {token}"))
        return pairs

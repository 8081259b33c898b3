"""TLS: a server's context, made of the options ``tls-…``.

A context is made anew after every change and serves the connections that come from then
on; those that are there keep theirs.  Files are read when the context is made.

Not everything that stock asks of OpenSSL can be asked through Python's ``ssl``:

================================  =================================================
tls-ciphersuites                  where Python can choose them (3.15); ``lacks_ciphersuites``
tls-session-cache-size, -timeout  OpenSSL's own
tls-session-caching no            no tickets
tls-client-…, tls-cluster         for MIGRATE, which is all of a cluster that there is
tls-replication                   of replicas: stored
================================  =================================================

It must not know: sockets, connections.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Callable

from perdure.server.config import Config

_VERIFY = {"no": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "yes": ssl.CERT_REQUIRED}
_PROTOCOLS = {
    "tlsv1": ssl.OP_NO_TLSv1,
    "tlsv1.1": ssl.OP_NO_TLSv1_1,
    "tlsv1.2": ssl.OP_NO_TLSv1_2,
    "tlsv1.3": ssl.OP_NO_TLSv1_3,
}
_DEFAULT_PROTOCOLS = "TLSv1.2 TLSv1.3"

NO_CERTIFICATE = "No tls-cert-file configured!"
NO_KEY = "No tls-key-file configured!"
NO_AUTHORITY = (
    "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or "
    "tls-auth-clients are enabled!"
)
BAD_PROTOCOLS = (
    "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
)


class TlsError(Exception):
    """A context that cannot be made; ``text`` says why and names the file."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def lacks_ciphersuites() -> bool:
    """Is it Python that chooses the cipher suites of TLS 1.3?"""
    return not hasattr(ssl.SSLContext, "set_ciphersuites")


def server_context(config: Config) -> ssl.SSLContext:
    """The context that the options ask for.  TlsError if they do not fit, or a file cannot be used."""
    if not config["tls-cert-file"]:
        raise TlsError(NO_CERTIFICATE)
    if not config["tls-key-file"]:
        raise TlsError(NO_KEY)
    needs_authority = config["tls-cluster"] or config["tls-replication"] or config["tls-auth-clients"] != "no"
    if needs_authority and not (config["tls-ca-cert-file"] or config["tls-ca-cert-dir"]):
        raise TlsError(NO_AUTHORITY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _prepare(context, config, "tls-")
    context.verify_mode = _VERIFY[config["tls-auth-clients"]]
    _choose_ciphers(context, config)
    if not config["tls-session-caching"]:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def client_context(config: Config) -> ssl.SSLContext:
    """The context for connections to other servers, whose certificate is verified, and whose name, as in stock, is not.

    TlsError as above.
    """
    if not (config["tls-ca-cert-file"] or config["tls-ca-cert-dir"]):
        raise TlsError(NO_AUTHORITY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _prepare(context, config, "tls-client-" if config["tls-client-cert-file"] else "tls-")
    _choose_ciphers(context, config)
    return context


def _prepare(context: ssl.SSLContext, config: Config, prefix: str) -> None:
    """Protocols, the certificate that the options beginning with ``prefix`` name, if they do, and authorities."""
    _choose_protocols(context, config["tls-protocols"])
    if config[f"{prefix}cert-file"]:
        certificate, key = config.path(f"{prefix}cert-file"), config.path(f"{prefix}key-file")
        password = os.fsencode(config[f"{prefix}key-file-pass"])
        _try(
            f"Failed to load certificate {certificate} with private key {key}",
            # A password that is asked for by calling never makes OpenSSL ask at the terminal.
            lambda: context.load_cert_chain(certificate, key, lambda: password),
        )
    authority_file, authority_dir = config.path("tls-ca-cert-file"), config.path("tls-ca-cert-dir")
    if authority_file or authority_dir:
        _try(
            f"Failed to configure CA certificate(s) {authority_file or authority_dir}",
            lambda: context.load_verify_locations(authority_file or None, authority_dir or None),
        )


def _choose_protocols(context: ssl.SSLContext, names: str) -> None:
    wanted = {name.lower() for name in (names or _DEFAULT_PROTOCOLS).split()}
    if not wanted <= set(_PROTOCOLS):
        raise TlsError(BAD_PROTOCOLS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # who names TLSv1 knows how old it is
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.options |= ssl.OP_NO_SSLv3
        for name, without in _PROTOCOLS.items():
            if name not in wanted:
                context.options |= without


def _choose_ciphers(context: ssl.SSLContext, config: Config) -> None:
    if config["tls-ciphers"]:
        _try("Failed to configure ciphers", lambda: context.set_ciphers(config["tls-ciphers"]))
    choose = getattr(context, "set_ciphersuites", None)
    if config["tls-ciphersuites"] and choose is not None:
        _try("Failed to configure ciphersuites", lambda: choose(config["tls-ciphersuites"]))
    if config["tls-prefer-server-ciphers"]:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if config["tls-dh-params-file"]:
        path = config.path("tls-dh-params-file")
        _try(f"Failed to load DH params {path}", lambda: context.load_dh_params(path))


def _try(what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TlsError(f"{what}: {error}") from None

"""A certificate authority of our own, by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TO_FIVE_YEARS = ["-days", "1825"]


class Authority:
    """Signs certificates for any name; `ca_file` is what its friends trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        _openssl(
            *["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            *["-keyout", str(folder / "ca.key"), "-out", str(self.ca_file), "-subj", "/CN=test authority"],
            *["-addext", "keyUsage=critical,keyCertSign", *_TO_FIVE_YEARS],
        )

    def server(self, alternative_name: str) -> ssl.SSLContext:
        """A server's context with a certificate for `alternative_name`, such as `DNS:localhost` or `IP:127.0.0.1`."""
        stem = self._folder / alternative_name.replace(":", "-")
        key, request, certificate, extensions = (stem.with_suffix(s) for s in (".key", ".csr", ".pem", ".ext"))
        extensions.write_text(f"subjectAltName={alternative_name}\n")
        _openssl(
            *["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            *["-keyout", str(key), "-out", str(request), "-subj", "/CN=test server"],
        )
        _openssl(
            *["x509", "-req", "-in", str(request), "-CA", str(self.ca_file), "-CAkey", str(self._folder / "ca.key")],
            *["-CAcreateserial", "-out", str(certificate), "-extfile", str(extensions), *_TO_FIVE_YEARS],
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        return context


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)

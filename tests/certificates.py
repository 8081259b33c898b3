"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LOCAL = ipaddress.ip_address("127.0.0.1")


class Authority:
    """A certificate authority in a folder: ``ca.crt``, and ``<name>.crt`` and ``<name>.key`` of each that it signs."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"authority {name}")
        self._serial = 0
        self.certificate = str(folder / f"{name}.crt")
        self._write(self.certificate, self._signed(self._name, self._key, is_authority=True))

    def issue(self, name: str, password: str = "") -> tuple[str, str]:
        """A certificate for ``localhost`` and 127.0.0.1, and its key, encrypted if there is a password: their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        paths = str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key")
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.encode())
        self._write(paths[0], self._signed(_name(name), key, is_authority=False))
        form = serialization.PrivateFormat.TraditionalOpenSSL
        Path(paths[1]).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
        return paths

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.Certificate:
        self._serial += 1
        now = datetime.datetime.now(datetime.UTC)
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(_LOCAL)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, path: str, certificate: x509.Certificate) -> None:
        Path(path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def common_name(certificate: bytes) -> str:
    """Whose a certificate in DER form is."""
    found = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value)

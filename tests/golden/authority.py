"""A private CA in a folder, and certificates for any host that it signs."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

ISSUER = "a private CA"


class Authority:
    """`path` is its certificate, for clients to trust. Whoever opens the folder next has the same key."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "ca.pem"
        secret = folder / "key.pem"
        if not secret.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._secret = secret.read_bytes()
        loaded = load_pem_private_key(self._secret, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded
        if not self.path.exists():
            self.path.write_bytes(self._signed(ISSUER, x509.BasicConstraints(ca=True, path_length=None)))
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self, host: str) -> ssl.SSLContext:
        """What a server needs to be `host`."""
        if host not in self._contexts:
            leaf = self.folder / f"{host}.pem"
            leaf.write_bytes(self._signed(host, x509.SubjectAlternativeName([x509.DNSName(host)])) + self._secret)
            self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._contexts[host].load_cert_chain(leaf)
        return self._contexts[host]

    def _signed(self, name: str, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, ISSUER))
        unsigned = x509.CertificateBuilder(
            issuer,
            subject,
            self._key.public_key(),
            x509.random_serial_number(),
            now - timedelta(days=1),
            now + timedelta(days=1),
        )
        return (
            unsigned.add_extension(extension, critical=False)
            .sign(self._key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

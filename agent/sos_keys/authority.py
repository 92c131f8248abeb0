"""The site's certificate authority: X.509, EC P-256, one folder that never leaves the technician.

``authority/`` holds ``ca.pem``, ``ca.key``, ``crl.pem`` and in ``issued/`` every certificate ever signed: nothing else
is remembered, so nothing can contradict it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sos_contract.errors import UserError
from sos_contract.files import read_file
from sos_contract.who import MAX_COMMON_NAME, Who, who
from sos_keys.folder import make_folder, replace, write_new

# Poles and cabinets stand for twenty years; a new authority means a visit to each of them.
AUTHORITY_DAYS = 20 * 365
# What we sign is good from the first second that a clock can tell: a Pi that woke without a clock must not find a
# certificate, or the list of revoked ones, "not yet valid". A beginning protects nobody; ends and revocation do.
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM."""

    cert: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that this authority has signed."""

    who: Who
    serial: int
    until: datetime
    revoked: bool


class Authority:
    """``Authority.create(folder, ...)`` once, ``Authority(folder)`` from then on."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if ``folder`` holds no authority that can be used, OSError if it cannot be read."""
        self._folder = make_folder(folder)
        mode = (folder / "ca.key").stat().st_mode & 0o7777
        if mode & 0o077:
            raise UserError(f"{folder}/ca.key: others may read it (mode {mode:04o}); run: chmod 600 {folder}/ca.key")
        try:
            self._cert = x509.load_pem_x509_certificate(read_file(folder / "ca.pem"))
            key = load_pem_private_key(read_file(folder / "ca.key"), None)
            self._revoked = x509.load_pem_x509_crl(read_file(folder / "crl.pem"))
        except (ValueError, TypeError) as error:
            raise UserError(f"{folder}: a damaged authority ({error}); restore it from your copy") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not fits(self._cert, key):
            raise UserError(f"{folder}: ca.key does not belong to ca.pem; restore both from your copy")
        self._key = key

    @classmethod
    def create(cls, folder: Path, town: str, now: datetime) -> Authority:
        """Make the authority of ``town`` in ``folder``, which must not exist; it is there whole or not at all."""
        if folder.exists():
            raise UserError(f"{folder}: is there already and is not overwritten; move it away first")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Safezone {town}")])
        cert = (
            _builder(name, name, key.public_key(), ALWAYS, now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        draft = make_folder(folder.with_name(f".{folder.name}.new"))
        for path in draft.glob("*.*"):
            path.unlink()  # of a run that was cut off before it had signed anything
        make_folder(draft / "issued")
        write_new(draft / "ca.key", _key_pem(key))
        write_new(draft / "ca.pem", cert.public_bytes(Encoding.PEM))
        write_new(draft / "crl.pem", _crl(cert, key, [], 1))
        draft.rename(folder)
        return cls(folder)

    @property
    def revocations(self) -> bytes:
        """The list of revoked certificates, PEM."""
        return self._revoked.public_bytes(Encoding.PEM)

    @property
    def trust(self) -> bytes:
        """What everybody checks their peers with: the authority's certificate and the revoked ones, PEM."""
        return self._cert.public_bytes(Encoding.PEM) + self.revocations

    def is_older_than(self, pem: bytes) -> bool:
        """Whether ``pem`` is a list of the revoked that we signed later than our newest: then this is an older copy."""
        try:
            other = x509.load_pem_x509_crl(pem)
        except ValueError:
            return False
        return other.is_signature_valid(self._key.public_key()) and _number(other) > _number(self._revoked)

    def issue(self, holder: Who, hosts: Iterable[str], until: datetime, since: datetime = ALWAYS) -> Pair:
        """Sign a certificate for ``holder``: a server's with ``hosts`` (names or addresses), a client's without."""
        if len(holder.common_name) > MAX_COMMON_NAME:
            raise UserError(f"'{holder.name}' is too long for a certificate; {MAX_COMMON_NAME} with its kind at most")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, holder.common_name)])
        until = min(until, self._cert.not_valid_after_utc)
        names = [_host(host) for host in hosts]
        # The purpose keeps a point from passing for a broker, and a broker's machine from speaking as anybody.
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(subject, self._cert.subject, key.public_key(), since, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        pem = cert.public_bytes(Encoding.PEM)
        # Known before anybody can use it: what is not in `issued` could never be revoked.
        write_new(self._folder / "issued" / f"{holder.common_name}.{cert.serial_number:x}.pem", pem)
        return Pair(pem, _key_pem(key))

    def issued(self) -> list[Issued]:
        """Every certificate signed so far, by name and end."""
        found = [self.read(read_file(path)) for path in (self._folder / "issued").glob("*.pem")]
        return sorted((one for one in found if one is not None), key=lambda one: (one.who, one.until, one.serial))

    def read(self, pem: bytes) -> Issued | None:
        """What this authority knows of a certificate; None if it did not sign it."""
        try:
            cert = x509.load_pem_x509_certificate(pem)
            cert.verify_directly_issued_by(self._cert)
        except (ValueError, TypeError, InvalidSignature):
            return None
        (name,) = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        holder = who(str(name.value))
        if holder is None:
            return None
        gone = self._revoked.get_revoked_certificate_by_serial_number(cert.serial_number) is not None
        return Issued(holder, cert.serial_number, cert.not_valid_after_utc, gone)

    def revoke(self, serials: Iterable[int], now: datetime) -> None:
        """Add to the list of revoked certificates; those that are on it stay."""
        listed = {one.serial_number: one for one in self._revoked}
        for serial in serials:
            if serial not in listed:
                entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
                listed[serial] = entry.build()
        pem = _crl(self._cert, self._key, listed.values(), _number(self._revoked) + 1)
        replace(self._folder / "crl.pem", pem)
        self._revoked = x509.load_pem_x509_crl(pem)


def fits(cert: x509.Certificate, key: object) -> bool:
    """Whether ``key`` is the private half of ``cert``'s key."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return False
    half = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return cert.public_key().public_bytes(*half) == key.public_key().public_bytes(*half)


def hosts_of(pem: bytes) -> list[str]:
    """The hosts that a server's certificate is for; none for a client's."""
    extensions = x509.load_pem_x509_certificate(pem).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def pair_fits(cert: bytes, key: bytes) -> bool:
    """Whether two PEM files are a certificate and its key."""
    try:
        return fits(x509.load_pem_x509_certificate(cert), load_pem_private_key(key, None))
    except (ValueError, TypeError):
        return False


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise UserError(f"'{host}' cannot stand in a certificate; write the broker's name in ASCII (xn--...)") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _crl(
    cert: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: Iterable[x509.RevokedCertificate],
    number: int,
) -> bytes:
    """PEM. It never goes out of date: a broker that finds its list too old turns the whole town away."""
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(cert.subject)
        .last_update(ALWAYS)
        .next_update(cert.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(issuer, critical=False)
    )
    for one in revoked:
        builder = builder.add_revoked_certificate(one)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

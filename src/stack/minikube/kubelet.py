"""The certificate that the kubelet shows to whoever reads its metrics."""

from __future__ import annotations

import datetime

# Days before its end in which it is replaced.
RENEW_DAYS = 30


def is_verified(authority: str, shown: str | None, address: str, now: datetime.datetime) -> bool:
    """Whether a certificate is the authority's, for this address alone, and lasts.

    Args:
        authority: The authority's certificate, PEM.
        shown: The kubelet's, PEM; what is none counts as not verified.
        address: The node's.
        now: The time, with a time zone.
    """
    # Loaded here, since Ansible loads every filter for every task.
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        issuer = x509.load_pem_x509_certificate(authority.encode())
        certificate = x509.load_pem_x509_certificate((shown or "").encode())
        certificate.verify_directly_issued_by(issuer)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    addresses = [str(found) for found in names.get_values_for_type(x509.IPAddress)]
    return addresses == [address] and certificate.not_valid_after_utc > now + datetime.timedelta(days=RENEW_DAYS)

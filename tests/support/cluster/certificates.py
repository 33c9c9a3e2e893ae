"""The keys and certificates of one cluster's control plane, made by openssl in a fraction of a second."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.binaries import path


@dataclass(frozen=True, slots=True)
class Certificates:
    authority: Path
    authority_key: Path
    server: Path
    server_key: Path
    accounts_key: Path
    """Signs the tokens of service accounts."""


def make_certificates(folder: Path, addresses: list[str]) -> Certificates:
    """An authority of its own and a server's certificate for `addresses` and the API server's names in the cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(
        authority=folder / "ca.crt",
        authority_key=folder / "ca.key",
        server=folder / "apiserver.crt",
        server_key=folder / "apiserver.key",
        accounts_key=folder / "accounts.key",
    )
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names.append("kubernetes.default.svc.cluster.local")
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)])
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    _openssl("req", "-x509", *new_key, "-keyout", made.authority_key, "-out", made.authority, "-subj", "/CN=test-ca")
    _openssl(
        *("req", "-x509", *new_key, "-keyout", made.server_key, "-out", made.server, "-subj", "/CN=kube-apiserver"),
        *("-CA", made.authority, "-CAkey", made.authority_key),
        *("-addext", f"subjectAltName={alternatives}", "-addext", "basicConstraints=critical,CA:FALSE"),
    )
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", made.accounts_key)
    return made


def _openssl(*arguments: str | Path) -> None:
    command = [str(path("openssl")), *(str(argument) for argument in arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, f"openssl: {answer.stderr}"

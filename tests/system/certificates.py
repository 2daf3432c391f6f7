"""Certificates for tests, made by openssl: authorities, and what they vouch for."""
import pathlib
import subprocess

import daemon


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=daemon.PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr


def new_key(path):
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


class Pair:
    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @property
    def texts(self):
        return self.certificate.read_bytes(), self.key.read_bytes()


class Issuer:
    """Signs certificates; its own lies in `path`."""

    def __init__(self, folder, name):
        self.folder, self.name, self.count = pathlib.Path(folder), name, 0
        self.path, self.key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        new_key(self.key)
        openssl("req", "-x509", "-key", self.key, "-out", self.path, "-days", "2", "-subj", f"/CN={name}")

    def issue(self, *names, days=1):
        """For subject alternative names as openssl writes them, "DNS:localhost"; days=-1: expired."""
        self.count += 1
        base = self.folder / f"{self.name}-{self.count}"
        pair = Pair(base.with_suffix(".pem"), base.with_suffix(".key"))
        request = base.with_suffix(".csr")
        new_key(pair.key)
        openssl("req", "-new", "-key", pair.key, "-out", request, "-subj", f"/CN=test-{self.count}",
                "-addext", "subjectAltName=" + ",".join(names))
        openssl("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self.key, "-days", str(days),
                "-copy_extensions", "copyall", "-out", pair.certificate)
        return pair

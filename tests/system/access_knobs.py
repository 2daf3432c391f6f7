"""What the knobs of credentials do, one function each: a part of config_test.py."""
import tempfile

import daemon
from certificates import Issuer
from daemon import MODEL, run


class AccessKnobs:
    def assert_reads(self, *flags):
        """The file that the last flag names: there is none."""
        refused = run("--model", MODEL, *flags, "/nowhere/file")
        self.assertRegex(refused.stderr, f"^latentd: {flags[-1]}: .*/nowhere/file")

    def knob_tokens(self):  # more of it: credentials_test.py
        self.assert_reads("--tokens")

    def knob_tls_cert(self):  # more of these: tls_test.py
        self.assert_reads("--tls-key", "/nowhere/key", "--tls-cert")

    def knob_tls_key(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            self.assert_reads("--tls-cert", Issuer(folder, "authority").path, "--tls-key")

    def knob_tls_client_ca(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            issuer = Issuer(folder, "authority")
            self.assert_reads("--tls-cert", issuer.path, "--tls-key", issuer.key, "--tls-client-ca")

    def knob_identities(self):
        pair = ("--tls-cert", "/nowhere/cert", "--tls-key", "/nowhere/key", "--tls-client-ca", "/nowhere/ca")
        self.assert_reads(*pair, "--identities")

    def knob_insecure(self):
        self.assertIn("say --insecure", run("--model", MODEL, "--listen", "0.0.0.0:0").stderr)
        with daemon.Daemon("--listen", "0.0.0.0:0", "--insecure") as server:
            server.await_log("insecure: without credentials")

"""TLS and client certificates: who gets through the handshake, as whom, what reloads bring, and that the guard sees."""
import contextlib
import hashlib
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest

import grpc

import daemon
from certificates import Issuer
from daemon import (Daemon, Details, admin_pb2, admin_pb2_grpc, failure_of, generation_pb2_grpc, http_get, replace,
                    request, wait_until)
from raw_http2 import PING, PREFACE, SETTINGS, frame

SERVER_NAMES = ("DNS:localhost", "IP:127.0.0.1")
HANDSHAKE_SECONDS = 5  # of a client that is to be refused, at most


class TlsCase(unittest.TestCase):
    """A daemon with a certificate, whose files the tests replace."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.issuer, cls.stranger = Issuer(cls.folder, "authority"), Issuer(cls.folder, "stranger")
        cls.pair = cls.issuer.issue(*SERVER_NAMES)
        cls.certificate, cls.key = cls.folder / "server.pem", cls.folder / "server.key"
        cls.install(cls.pair)
        cls.tls = ("--tls-cert", cls.certificate, "--tls-key", cls.key)

    @classmethod
    def install(cls, pair):
        certificate, key = pair.texts
        replace(cls.certificate, certificate)
        replace(cls.key, key)

    def channel(self, issuer=None, pair=None, address=None):
        """A connection of its own."""
        certificate, key = pair.texts if pair else (None, None)
        roots = (issuer or self.issuer).path.read_bytes()
        credentials = grpc.ssl_channel_credentials(roots, key, certificate)
        channel = grpc.secure_channel(address or self.daemon.address, credentials,
                                      [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return channel

    def text(self, channel, **options):
        return daemon.Answer(self.generate(channel, **options)).text

    def generate(self, channel, message=None, **options):
        stub = generation_pb2_grpc.GenerationStub(channel)
        return stub.Generate(message or request(), timeout=daemon.PATIENCE_SECONDS, **options)

    def expect_no_way_in(self, channel):
        details = failure_of(generation_pb2_grpc.GenerationStub(channel).Generate(request(), timeout=HANDSHAKE_SECONDS))
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.UNAVAILABLE, ""), details.message)

    def refused_start(self, *flags):
        run = daemon.run("--model", str(daemon.MODEL), *map(str, flags))
        self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
        return run.stderr

    def socket(self, pair=None, **options):
        """TLS by hand; options are attributes of the context."""
        context = ssl.create_default_context(cafile=self.issuer.path)
        context.set_alpn_protocols(["h2"])
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        for name, value in options.items():
            setattr(context, name, value)
        host, port = self.daemon.address.rsplit(":", 1)
        return context.wrap_socket(socket.create_connection((host, int(port)), daemon.PATIENCE_SECONDS),
                                   server_hostname=host)


class ServerCertificateTest(TlsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.enterClassContext(Daemon(*cls.tls, "--admin-listen", "127.0.0.1:0", *daemon.HOLD_TWO))

    def tearDown(self):
        self.install(self.pair)
        wait_until(lambda: self.serves(self.pair), "the first certificate is served again")

    def test_01_same_answer_as_without_tls(self):
        with Daemon() as plain:
            expected = plain.once(request()).text
        self.assertEqual(self.text(self.channel()), expected)

    def test_02_admin_speaks_tls_too(self):
        channel = self.channel(address=self.daemon.admin_address)
        load = admin_pb2_grpc.AdminStub(channel).GetLoad(admin_pb2.GetLoadRequest(), timeout=daemon.PATIENCE_SECONDS)
        self.assertFalse(load.draining)

    def test_03_tls_1_2_and_1_3_alone(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.socket(minimum_version=version, maximum_version=version) as connection:
                self.assertEqual((connection.selected_alpn_protocol(), connection.version()),
                                 ("h2", version.name.replace("_", ".")))
        with self.assertRaises(ssl.SSLError):
            self.socket(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)

    def test_04_plain_text_finds_no_way_in(self):
        self.expect_no_way_in(self.daemon.channel)

    def test_05_wrong_authority(self):
        self.expect_no_way_in(self.channel(self.stranger))

    def test_06_wrong_name(self):
        self.install(self.issuer.issue("DNS:other.example"))
        wait_until(lambda: not self.is_let_in(), "the other certificate is served")
        self.expect_no_way_in(self.channel())

    def is_let_in(self):
        try:
            grpc.channel_ready_future(self.channel()).result(HANDSHAKE_SECONDS)
            return True
        except grpc.FutureTimeoutError:
            return False

    def serves(self, pair):
        """Whether new connections get this one, for clients that check nothing."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        host, port = self.daemon.address.rsplit(":", 1)
        with context.wrap_socket(socket.create_connection((host, int(port)), daemon.PATIENCE_SECONDS)) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(True)) in pair.certificate.read_text()

    def test_07_expired_certificate_is_refused_by_clients_and_shown_as_metric(self):
        expiry = 'latentd_certificate_expiry_timestamp_seconds{certificate="server"}'
        before = self.daemon.metrics()[expiry]
        expired = self.issuer.issue(*SERVER_NAMES, days=-1)
        self.install(expired)
        wait_until(lambda: self.serves(expired), "it is served")
        self.expect_no_way_in(self.channel())
        self.assertAlmostEqual(before - self.daemon.metrics()[expiry], 2 * 86400, delta=3600)
        self.daemon.await_log("warning .*the server's certificate has expired")

    def test_08_replaced_under_load_without_a_dropped_stream(self):
        channel = self.channel()
        live = self.generate(channel, daemon.held_request("survivor"))
        next(live)
        fresh = self.issuer.issue(*SERVER_NAMES)
        self.install(fresh)
        wait_until(lambda: self.serves(fresh), "new connections get the new certificate")
        next(live)
        self.assertTrue(self.text(self.channel()))
        self.assertTrue(self.text(channel), "the old connection goes on")
        live.cancel()

    def test_09_half_a_change_keeps_the_old_pair(self):
        kept = 'latentd_credentials_load_failures_total{file="certificates"}'
        before = self.daemon.metrics()[kept]
        replace(self.key, self.issuer.issue(*SERVER_NAMES).key.read_bytes())
        wait_until(lambda: self.daemon.metrics()[kept] > before, "it is counted")
        self.daemon.await_log(r"warning .*tls-key: expected the key of the certificate in tls-cert.*stays in force")
        self.assertTrue(self.text(self.channel()))
        self.assertTrue(self.serves(self.pair))

    def test_10_bad_files_end_the_start_in_a_line(self):
        other, text = self.issuer.issue(*SERVER_NAMES), self.folder / "text"
        text.write_text("no certificate")
        locked = self.folder / "locked.key"
        subprocess.run(["openssl", "ec", "-in", self.key, "-aes128", "-passout", "pass:secret", "-out", locked],
                       capture_output=True, check=True)
        for certificate, key, why in ((text, self.key, "--tls-cert: expected certificates in PEM"),
                                      (self.certificate, text, "--tls-key: expected a private key in PEM"),
                                      (self.certificate, locked, "without a password"),
                                      (self.certificate, other.key, "--tls-key: expected the key of the certificate"),
                                      ("/nowhere/c.pem", self.key, "/nowhere/c.pem")):
            self.assertIn(why, self.refused_start("--tls-cert", certificate, "--tls-key", key))
        self.assertIn("expected tls-key beside it", self.refused_start("--tls-cert", self.certificate))

    def test_11_the_guard_sees_into_tls(self):
        """A flood of pings is cut off as it is without TLS, and a neighbour is served."""
        cut = 'latentd_connections_cut_off_total{reason="pings"}'
        before = self.daemon.metrics()[cut]
        with self.socket() as attacker:
            attacker.sendall(PREFACE + frame(SETTINGS))
            attacker.settimeout(HANDSHAKE_SECONDS)
            with contextlib.suppress(OSError):  # it is cut off while it sends
                for _ in range(20):
                    attacker.sendall(frame(PING, payload=b"12345678") * 1000)
            wait_until(lambda: self.daemon.metrics()[cut] == before + 1, "it is cut off and counted")
        self.assertTrue(self.text(self.channel()))

    def test_12_tls_alone_is_no_credential(self):
        self.assertIn("expected credentials", self.refused_start(*self.tls, "--listen", "0.0.0.0:0"))
        self.assertIn("expected credentials", self.refused_start(*self.tls, "--admin-listen", "0.0.0.0:0"))

    def test_13_token_beside_tls(self):
        tokens = self.folder / "tokens"
        tokens.write_text(f"ci {hashlib.sha256(b'secret').hexdigest()} search generate\n")
        with Daemon(*self.tls, "--tokens", tokens, "--listen", "0.0.0.0:0") as server:
            channel = self.channel(address=server.address)
            self.assertEqual(failure_of(self.generate(channel)).reason, "UNAUTHENTICATED")
            self.assertTrue(self.text(channel, metadata=[("authorization", "Bearer secret")]))

    def test_14_latentctl(self):
        def run(*flags):
            return subprocess.run([daemon.BIN / "latentctl", "generate", "--server", self.daemon.address, "--timeout",
                                   str(HANDSHAKE_SECONDS), "--max-tokens", "4", "Once", *flags], capture_output=True,
                                  text=True, stdin=subprocess.DEVNULL, timeout=daemon.PATIENCE_SECONDS)
        done = run("--tls-ca", self.issuer.path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(run("--tls-ca", self.stranger.path).returncode, 1)
        self.assertEqual(run().returncode, 1)
        self.assertIn("expected PEM in", run("--tls-ca", daemon.MODEL / "config.json").stderr)

    def test_99_nothing_secret_was_told(self):
        log = self.daemon.log_text()
        for line in self.pair.key.read_text().splitlines()[1:-1]:
            self.assertNotIn(line, log)


class ClientCertificateTest(TlsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clients = Issuer(cls.folder, "clients")
        cls.node = cls.clients.issue("URI:spiffe://example/node", "DNS:node.example")
        cls.operator = cls.clients.issue("email:ops@example.org")
        cls.anyone = cls.clients.issue("DNS:anyone.example")
        cls.client_ca, cls.identities = cls.folder / "client-ca.pem", cls.folder / "identities"
        replace(cls.client_ca, cls.clients.path.read_bytes())
        cls.map_names()
        cls.daemon = cls.enterClassContext(Daemon(
            *cls.tls, "--tls-client-ca", cls.client_ca, "--identities", cls.identities, "--listen", "0.0.0.0:0",
            "--admin-listen", "0.0.0.0:0", *daemon.HOLD_TWO))

    @classmethod
    def map_names(cls, text="spiffe://example/node fleet generate\nops@example.org ops admin,generate\n"):
        replace(cls.identities, text.encode())

    def admin_load(self, pair):
        channel = self.channel(pair=pair, address=self.daemon.admin_address)
        return admin_pb2_grpc.AdminStub(channel).GetLoad(admin_pb2.GetLoadRequest(), timeout=daemon.PATIENCE_SECONDS)

    def test_31_no_certificate(self):
        self.expect_no_way_in(self.channel())
        self.expect_no_way_in(self.channel(address=self.daemon.admin_address))

    def test_32_certificate_of_another_authority(self):
        self.expect_no_way_in(self.channel(pair=self.stranger.issue("DNS:node.example")))
        self.expect_no_way_in(self.channel(pair=self.pair))

    def test_33_expired_certificate(self):
        self.expect_no_way_in(self.channel(pair=self.clients.issue("URI:spiffe://example/node", days=-1)))

    def test_34_known_name_brings_its_tenant(self):
        call = self.generate(self.channel(pair=self.node), daemon.held_request("named"),
                             metadata=[("x-latentd-tenant", "somebody-else")])
        next(call)
        call.cancel()
        self.daemon.await_log("request_id=named .*tenant=fleet .*credential=spiffe://example/node")

    def test_35_unknown_name_is_the_default_tenants(self):
        self.assertTrue(self.text(self.channel(pair=self.anyone)))
        self.daemon.await_log("tenant=default .*credential=default")

    def test_36_rights_are_those_of_the_name(self):
        self.assertFalse(self.admin_load(self.operator).draining)
        for pair in (self.node, self.anyone):
            self.assertEqual(failure_of(lambda: self.admin_load(pair)).reason, "PERMISSION_DENIED")

    def test_37_right_is_revoked_by_a_reload(self):
        self.addCleanup(self.map_names)
        channel = self.channel(pair=self.operator, address=self.daemon.admin_address)
        stub = admin_pb2_grpc.AdminStub(channel)

        def is_let_in():
            try:
                return not stub.GetLoad(admin_pb2.GetLoadRequest(), timeout=daemon.PATIENCE_SECONDS).draining
            except grpc.RpcError as error:
                self.assertEqual(Details(error).reason, "PERMISSION_DENIED")
                return False
        self.assertTrue(is_let_in())
        self.map_names("ops@example.org ops generate\n")
        wait_until(lambda: not is_let_in(), "the right is revoked on the same connection")

    def test_38_authority_is_replaced_by_a_reload_under_load(self):
        channel = self.channel(pair=self.node)
        live = self.generate(channel, daemon.held_request("kept"))
        next(live)
        heirs = Issuer(self.folder, "heirs")
        heir = heirs.issue("URI:spiffe://example/node")
        self.expect_no_way_in(self.channel(pair=heir))
        replace(self.client_ca, heirs.path.read_bytes())

        def is_let_in(pair):
            try:
                grpc.channel_ready_future(self.channel(pair=pair)).result(HANDSHAKE_SECONDS)
                return bool(self.text(self.channel(pair=pair)))
            except (grpc.FutureTimeoutError, grpc.RpcError):
                return False
        wait_until(lambda: is_let_in(heir), "the new authority vouches")
        self.expect_no_way_in(self.channel(pair=self.node))
        next(live)
        live.cancel()
        replace(self.client_ca, self.clients.path.read_bytes())
        wait_until(lambda: is_let_in(self.node), "the first one does again")

    def test_39_expiry_of_the_clients_authority_is_a_metric(self):
        with Daemon(*self.tls, "--tls-client-ca", self.client_ca) as server:
            samples = server.metrics()
        expiry = "latentd_certificate_expiry_timestamp_seconds"
        difference = samples[expiry + '{certificate="client_ca"}'] - samples[expiry + '{certificate="server"}']
        self.assertAlmostEqual(difference, 86400, delta=3600)

    def test_40_unix_socket_goes_without_certificates(self):
        api = self.folder / "api.sock"
        with Daemon(*self.tls, "--tls-client-ca", self.client_ca, "--listen", f"unix:{api}") as server:
            self.assertTrue(server.once(request()).completed)

    def test_41_latentctl_shows_its_certificate(self):
        done = subprocess.run([daemon.BIN / "latentctl", "status", "--admin", self.daemon.admin_address, "--tls-ca",
                               self.issuer.path, "--tls-cert", self.operator.certificate, "--tls-key",
                               self.operator.key], capture_output=True, text=True, timeout=daemon.PATIENCE_SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_42_metrics_port_has_no_tls_and_wants_a_token_beyond_loopback(self):
        self.assertIn("--metrics-listen: expected credentials", self.refused_start(
            *self.tls, "--tls-client-ca", self.client_ca, "--metrics-listen", "0.0.0.0:0"))
        self.assertEqual(http_get(self.daemon, "/metrics")[0], 200, "without tokens, on loopback")


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Credentials: who gets in, as whom, to what; what changes under load; and that nothing secret is told."""
import base64
import concurrent.futures
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import grpc

import daemon
from daemon import (Daemon, Details, admin_pb2, failure_of, generation_pb2_grpc, http_get, models_pb2, pb, replace,
                    request, wait_until)

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
LIST_SERVICES = b"\x3a\x00"


def line_of(name, token, tenant, rights):
    return f"{name} {hashlib.sha256(token.encode()).hexdigest()} {tenant} {rights}\n"


def bearing(token):
    return [("authorization", f"Bearer {token}")]


class TokensTest(unittest.TestCase):
    TOKENS = {"alice": ("token-of-alice-0123456789", "search", "generate"),
              "root": ("token-of-root-0123456789", "ops", "admin"),
              "scraper": ("token-of-scraper-0123456789", "ops", "metrics")}

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.tokens = cls.folder / "tokens"
        cls.write()
        cls.daemon = cls.enterClassContext(Daemon("--tokens", cls.tokens, "--admin-listen", "127.0.0.1:0",
                                                  "--log-level", "trace", *daemon.HOLD_TWO))

    @classmethod
    def write(cls, *names):
        names = names or cls.TOKENS
        replace(cls.tokens, "".join(line_of(name, *cls.TOKENS[name]) for name in names))

    @classmethod
    def show(cls, name):
        return bearing(cls.TOKENS[name][0])

    def expect(self, details, code, text=""):
        self.assertEqual((details.code, details.reason, details.domain), (grpc.StatusCode[code], code, "latentd"))
        self.assertIn(text, details.message)

    def generate(self, metadata, message=None):
        generate = self.daemon.generation.Generate
        return generate(message or request(), metadata=metadata, timeout=daemon.PATIENCE_SECONDS)

    def scrape(self):
        status, page, _ = http_get(self.daemon, "/metrics", Authorization=f"Bearer {self.TOKENS['scraper'][0]}")
        self.assertEqual(status, 200)
        lines = (line.rsplit(" ", 1) for line in page.decode().splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    # ------------------------------------------------------------------------------------------------- without a right

    def test_01_every_rpc_without_a_credential_is_unauthenticated(self):
        server = self.daemon
        messages = {"Generate": request(), "GenerateOnce": request(), "Chat": pb.ChatRequest()}
        num_calls = 0
        for stubs, module in ((server.generation, pb), (server.models, models_pb2), (server.admin, admin_pb2)):
            for name, stub in vars(stubs).items():
                message = messages.get(name) or getattr(module, name + "Request")()
                call = (lambda: stub(message)) if isinstance(stub, grpc.UnaryUnaryMultiCallable) else stub(message)
                self.expect(failure_of(call), "UNAUTHENTICATED", "found none")
                num_calls += 1
        self.assertGreater(num_calls, 16)

    def test_02_what_is_no_bearer_is_unauthenticated(self):
        for value in ("Basic YTpi", "token-of-alice-0123456789", "Bearer", "Bearer ", "Bearer " + "a" * 600):
            with self.subTest(value):
                self.expect(failure_of(self.generate([("authorization", value)])), "UNAUTHENTICATED", "expected one")

    def test_03_unknown_token_is_unauthenticated(self):
        self.expect(failure_of(self.generate(bearing("token-of-alice-012345678"))), "UNAUTHENTICATED", "another one")
        self.expect(failure_of(self.generate(bearing("TOKEN-OF-ALICE-0123456789"))), "UNAUTHENTICATED")

    def test_04_a_digest_is_no_token(self):
        digest = hashlib.sha256(self.TOKENS["alice"][0].encode()).hexdigest()
        self.expect(failure_of(self.generate(bearing(digest))), "UNAUTHENTICATED")

    def test_05_two_tokens_are_unauthenticated(self):
        both = self.show("alice") + self.show("root")
        self.expect(failure_of(self.generate(both)), "UNAUTHENTICATED", "expected one")

    def test_06_refused_before_the_message_is_parsed(self):
        for message in (request(sampling=pb.Sampling(top_p=2)), pb.GenerateRequest(text="a" * (5 << 20))):
            self.expect(failure_of(self.generate([], message)), "UNAUTHENTICATED")
            self.assertIn(failure_of(self.generate(self.show("alice"), message)).reason,
                          ("INVALID_FIELD", "MESSAGE_TOO_LARGE"))

    def test_07_generate_does_not_administer(self):
        details = failure_of(
            lambda: self.daemon.admin.GetConfig(admin_pb2.GetConfigRequest(), metadata=self.show("alice")))
        self.expect(details, "PERMISSION_DENIED", "the right to admin")
        self.assertEqual(details.metadata, {"right": "admin"})

    def test_08_admin_and_metrics_do_not_generate(self):
        for name in ("root", "scraper"):
            details = failure_of(self.generate(self.show(name)))
            self.expect(details, "PERMISSION_DENIED", f"found {name}")
            self.assertEqual(details.metadata, {"right": "generate"})

    def test_09_refusals_are_counted_by_listener(self):
        names = [f'latentd_access_{kind}_total{{listener="{listener}"}}' for kind in ("unauthenticated", "denied")
                 for listener in ("api", "admin", "metrics")]
        before = self.scrape()
        failure_of(self.generate([]))
        failure_of(self.generate(self.show("root")))
        for metadata in ([], self.show("alice")):
            failure_of(lambda: self.daemon.admin.GetLoad(admin_pb2.GetLoadRequest(), metadata=metadata))
        http_get(self.daemon, "/metrics")
        http_get(self.daemon, "/metrics", Authorization="Bearer token-of-alice-0123456789")
        after = self.scrape()
        self.assertEqual([after[name] - before[name] for name in names], [1] * 6)
        self.assertGreater(after['latentd_requests_finished_total{method="Generate",grpc_code="UNAUTHENTICATED",'
                                 'reason="UNAUTHENTICATED"}'], 0)

    # ---------------------------------------------------------------------------------------------------- with a right

    def test_10_token_gets_the_same_answer_as_without_credentials(self):
        with Daemon() as open_to_all:
            expected = open_to_all.once(request()).text
        self.assertEqual(daemon.Answer(self.generate(self.show("alice"))).text, expected)

    def test_11_scheme_has_no_case(self):
        call = self.generate([("authorization", "bearer " + self.TOKENS["alice"][0])])
        self.assertTrue(daemon.Answer(call).completed)

    def test_12_tenant_is_the_tokens_whatever_the_client_says(self):
        metadata = [*self.show("alice"), ("x-latentd-tenant", "somebody-else")]
        call = self.generate(metadata, daemon.held_request("tenant"))
        next(call)
        live = self.daemon.admin.ListRequests(admin_pb2.ListRequestsRequest(), metadata=self.show("root"))
        self.assertEqual([entry.tenant for entry in live.requests if entry.request_id == "tenant"], ["search"])
        call.cancel()
        self.daemon.await_log(r"request_id=tenant .*tenant=search .*credential=alice")

    def test_13_models_are_told_to_generators_and_operators(self):
        for name in ("alice", "root"):
            model = self.daemon.models.GetModel(models_pb2.GetModelRequest(), metadata=self.show(name))
            self.assertEqual(model.name, "tiny-tales")

    def test_14_health_is_told_to_everybody(self):
        self.assertEqual(self.daemon.health(), 1)
        self.assertEqual(self.daemon.health("latentd.v1.Generation"), 1)

    def test_15_reflection_takes_any_right(self):
        for channel in (self.daemon.channel, self.daemon.admin_channel):
            ask = channel.stream_stream(REFLECTION, lambda m: m, lambda m: m)
            self.expect(failure_of(ask(iter([LIST_SERVICES]))), "UNAUTHENTICATED")
            answers = list(ask(iter([LIST_SERVICES]), metadata=self.show("scraper")))
            self.assertIn(b"latentd.v1.", answers[0])

    def test_16_metrics_port(self):
        status, body, answer = http_get(self.daemon, "/metrics")
        self.assertEqual((status, answer.getheader("WWW-Authenticate")), (401, "Bearer"))
        self.assertNotIn(b"latentd_", body)
        alice = f"Bearer {self.TOKENS['alice'][0]}"
        self.assertEqual(http_get(self.daemon, "/metrics", Authorization=alice)[0], 403)
        for path in ("/health", "/ready"):
            self.assertEqual(http_get(self.daemon, path)[0], 200)
        self.assertGreater(len(self.scrape()), 100)

    # ------------------------------------------------------------------------------------------------------- as it runs

    def test_17_token_is_revoked_and_given_back_without_ending_a_stream(self):
        live = self.generate(self.show("alice"), daemon.held_request("survivor"))
        next(live)
        self.addCleanup(self.write)
        self.write("root", "scraper")
        wait_until(lambda: failure_of_or_none(self.generate(self.show("alice"))) is not None, "the token is revoked")
        next(live)
        self.write()
        wait_until(lambda: failure_of_or_none(self.generate(self.show("alice"))) is None, "the token is back")
        live.cancel()

    def test_18_bad_file_keeps_the_old_one(self):
        before = self.scrape()
        self.addCleanup(self.write)
        replace(self.tokens, "alice not-a-digest search generate\n")
        failures = 'latentd_credentials_load_failures_total{file="tokens"}'
        wait_until(lambda: self.scrape()[failures] == before[failures] + 1, "the bad file is counted")
        self.assertTrue(daemon.Answer(self.generate(self.show("alice"))).completed)
        self.daemon.await_log(r"warning .*tokens:1: expected the SHA-256.*stays in force")
        self.write()
        loads = 'latentd_credentials_loads_total{file="tokens"}'
        wait_until(lambda: self.scrape()[loads] > before[loads], "the good file is taken")

    def test_19_replaced_under_load_without_a_dropped_stream(self):
        def run(_):
            return daemon.Answer(self.generate(self.show("alice"))).text
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            texts = [pool.submit(run, i) for i in range(40)]
            for _ in range(10):
                self.write("alice", "scraper", "root")
                self.write()
            self.assertEqual(len({text.result() for text in texts}), 1)

    # ------------------------------------------------------------------------------------------------------------ start

    def test_20_bad_file_ends_the_start_in_a_line(self):
        bad = self.folder / "bad"
        for text, why in (("# comment\n\na b c\n", ":3: expected NAME SHA256 TENANT RIGHTS"),
                          (line_of("a", "t", "t", "all"), ":1: expected rights of generate, admin and metrics")):
            bad.write_text(text)
            run = daemon.run("--model", str(daemon.MODEL), "--tokens", str(bad))
            self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
            self.assertIn(f"--tokens: {bad}{why}", run.stderr)
        run = daemon.run("--model", str(daemon.MODEL), "--tokens", "/nowhere/tokens")
        self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
        self.assertIn("/nowhere/tokens", run.stderr)

    def test_21_beyond_loopback_with_tokens_no_word_is_needed(self):
        with Daemon("--tokens", self.tokens, "--listen", "0.0.0.0:0", "--admin-listen", "0.0.0.0:0",
                    "--metrics-listen", "0.0.0.0:0") as server:
            self.expect(failure_of(server.generation.Generate(request())), "UNAUTHENTICATED")
            self.assertNotIn("insecure", server.log_text())

    # ------------------------------------------------------------------------------------------------------------ tools

    def latentctl(self, *arguments, program="latentctl", **variables):
        return subprocess.run([daemon.BIN / program, *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=daemon.PATIENCE_SECONDS,
                              env={**os.environ, **variables})

    def test_22_latentctl_makes_a_token_and_shows_it(self):
        made = self.latentctl("token", "new", "--tenant", "acme", "--rights", "generate,metrics", "robot")
        self.assertEqual(made.returncode, 0, made.stderr)
        token, line = made.stdout.splitlines()
        self.assertEqual(line, line_of("robot", token, "acme", "generate,metrics").strip())
        file = self.folder / "token"
        file.write_text(token + "\n")
        self.addCleanup(self.write)
        replace(self.tokens, self.tokens.read_text() + line + "\n")
        wait_until(lambda: failure_of_or_none(self.generate(bearing(token))) is None, "the token is known")
        server = ("--server", self.daemon.address)
        refused = self.latentctl("generate", *server, "--max-tokens", "4", "Once")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("UNAUTHENTICATED", refused.stderr)
        for arguments, variables in ((("--token-file", file), {}), ((), {"LATENTD_TOKEN": token})):
            shown = self.latentctl("generate", *server, "--max-tokens", "4", "Once", *arguments, **variables)
            self.assertEqual(shown.returncode, 0, shown.stderr)
        load = self.latentctl("load", *server, "--token-file", file, "--metrics", self.daemon.metrics_address,
                              "--requests", "4", "--concurrency", "2", "--check")
        self.assertEqual(load.returncode, 0, load.stdout + load.stderr)
        status = self.latentctl("status", "--admin", self.daemon.admin_address, "--token-file", file)
        self.assertEqual(status.returncode, 1, "it may not administer")

    def test_23_latentctl_refuses_what_is_no_token_and_no_right(self):
        file = self.folder / "two"
        file.write_text("one two\n")
        run = self.latentctl("health", "--token-file", file)
        self.assertIn("expected one token", run.stderr)
        self.assertNotIn("one two", run.stderr)
        run = self.latentctl("token", "new", "--rights", "everything", "robot")
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("expected rights of generate, admin and metrics", run.stderr)

    def test_99_nothing_secret_was_told(self):
        log = self.daemon.log_text()
        self.assertIn("credential=alice", log, "there is a log")
        config = self.daemon.admin.GetConfig(admin_pb2.GetConfigRequest(), metadata=self.show("root"))
        for token, _, _ in self.TOKENS.values():
            digest = hashlib.sha256(token.encode()).hexdigest()
            for secret in (token, digest, base64.b64encode(token.encode()).decode()):
                self.assertNotIn(secret, log)
                self.assertNotIn(secret, str(config))


def failure_of_or_none(call):
    try:
        list(call)
        return None
    except grpc.RpcError as error:
        return Details(error)


if __name__ == "__main__":
    unittest.main(verbosity=2)

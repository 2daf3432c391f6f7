"""The image as a user runs it: without privileges, read-only, in 512 MB, on a network of the test's own.

Run by scripts/image-test.sh: as root, in a network namespace of its own, after it has built both images.
"""
import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import daemon  # noqa: E402
from daemon import MODEL, PATIENCE_SECONDS, Details, long_request, request, wait_until  # noqa: E402

VERSION = os.environ["LATENTD_VERSION"]
BASE = os.environ.get("BASE", "docker.io/library/debian:bookworm-slim")
IMAGE = f"latentd:{VERSION}"
WITH_MODEL = f"{IMAGE}-tiny-tales"
WITH_CUDA = f"{IMAGE}-cuda"
BILL = "/usr/local/share/doc/latentd/sbom.cdx.json"
# Addresses reserved for examples. The second network has no other IPv4 addresses than loopback's.
CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
CLIENT_IPV6, SERVER_IPV6 = "2001:db8::1", "2001:db8::2"
DEAD_PROXY = "http://127.0.0.1:9"
MEMORY_BYTES = 512 << 20
MAX_BYTES_ABOVE_BASE = 64 << 20  # the programs and their libraries; a compiler alone is more than that
MAX_BYTES_OF_CUDA = 8 << 20  # the backend and the CUDA runtime; the toolkit has 8 GB
UNPRIVILEGED_ID = 10001
PROGRAMS = ("latentd", "latentctl", "latentctl-load", "latentctl-doctor")
BUILD_TOOLS = "as c++ cc ccache clang cmake cpp g++ gcc ld make ninja pkg-config protoc".split()

# The network is the test's own, so nothing has to be shown.
run_options = ["--detach", "--env=LATENTD_INSECURE=on", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL",
               "--security-opt", "no-new-privileges", "--memory", str(MEMORY_BYTES),
               "--cgroup-parent", os.environ["LATENTD_CGROUP"],
               *(f"--env={name}={DEAD_PROXY}" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"))]
networks = {}  # by the server's address, the option that joins it
figures = []  # printed together, after the tests


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert not check or done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def podman(*arguments, check=True):
    return run("podman", *arguments, check=check)


def report(what, value):
    figures.append(f"image: {what}: {value}")


def megabytes(count):
    return f"{count / 1e6:.1f} MB"


def network_namespace(pid):
    return os.readlink(f"/proc/{pid}/ns/net")


def make_network(name, client, server):
    """A cable from this process's namespace to another one, which lives as long as the process that holds it."""
    is_ipv6 = ":" in server
    width = ["64", "nodad"] if is_ipv6 else ["24"]
    holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)  # ends when this process does
    unittest.addModuleCleanup(holder.wait, PATIENCE_SECONDS)
    unittest.addModuleCleanup(holder.stdin.close)
    wait_until(lambda: network_namespace(holder.pid) != network_namespace("self"), "the holder has its namespace")
    path = f"/proc/{holder.pid}/ns/net"
    there = ["nsenter", f"--net={path}"]
    run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "to-client", "netns", str(holder.pid))
    for enter, link, address in (([], f"to-{name}", client), (there, "to-client", server)):
        run(*enter, "ip", "address", "add", f"{address}/{width[0]}", "dev", link, *width[1:])
        run(*enter, "ip", "link", "set", link, "up")
        run(*enter, "ip", "link", "set", "lo", "up")
    networks[server] = ["--network", f"ns:{path}"]


def setUpModule():
    unittest.addModuleCleanup(podman, "rm", "--all", "--force", "--time", "0")
    make_network("server", CLIENT, SERVER)
    make_network("ipv6", CLIENT_IPV6, SERVER_IPV6)


def tearDownModule():
    print("\n".join(figures))


class Container(daemon.Daemon):
    """The daemon in a container. Use as a context: leaving it stops the container and asserts that it exits 0."""

    def __init__(self, image, *flags, options=(), host=SERVER):
        started = time.monotonic()
        self.id = podman("run", *run_options, *networks[host], *options, image, *flags).stdout.strip()
        self.host = host
        written = f"[{host}]" if ":" in host else host
        self.address, self.metrics_address = f"{written}:50051", f"{written}:9090"
        wait_until(lambda: self.accepts() or not self.is_running(), "the container listens or exits")
        assert self.is_running(), self.log_text()
        self.pid = self.inspect("State.Pid")
        # A window that does not grow: an unread stream stays in flight.
        self.channel = grpc.insecure_channel(
            self.address, options=[("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)])
        self.generation = daemon.generation_pb2_grpc.GenerationStub(self.channel)
        self.models = daemon.models_pb2_grpc.ModelsStub(self.channel)
        wait_until(lambda: self.health() == 1, "the container serves")
        self.seconds_to_serving = time.monotonic() - started

    def __exit__(self, kind, value, trace):
        self.channel.close()
        podman("stop", "--time", str(PATIENCE_SECONDS), self.id)
        code, text = self.inspect("State.ExitCode"), self.log_text()
        podman("rm", self.id)
        assert kind is not None or code == "0", f"exit code {code}\n{text}"

    def accepts(self):
        try:
            socket.create_connection((self.host, 50051), timeout=1).close()
        except OSError:
            return False
        return True

    def inspect(self, field):
        return podman("inspect", "--format", f"{{{{.{field}}}}}", self.id).stdout.strip()

    def is_running(self):
        return self.inspect("State.Running") == "true"

    def log_text(self):
        done = podman("logs", self.id)
        return done.stdout + done.stderr

    def execute(self, *command, options=(), check=True):
        return podman("exec", *options, self.id, *command, check=check)

    def is_healthy(self):
        """What HEALTHCHECK of the Dockerfile says."""
        return podman("healthcheck", "run", self.id, check=False).returncode == 0

    def process_status(self):
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def quiet_request(seed, max_tokens):
    message = long_request(seed, max_tokens)
    message.output.token_ids = True
    return message


class WithModelTest(unittest.TestCase):
    """What can be seen of one container with the model in its image."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Container(WITH_MODEL))
        report("from podman run to serving", f"{cls.server.seconds_to_serving:.2f} s")
        report("the daemon's own start", re.search(r"after ([0-9.]+ s)", cls.server.log_text())[1])

    def test_streams_and_is_scraped(self):
        before = self.server.sum("generated_tokens_total")
        answer = self.server.once(long_request(max_tokens=1000))
        self.assertEqual(answer.completed.usage.generated_tokens, 1000)
        self.assertTrue(answer.text)
        wait_until(lambda: self.server.sum("generated_tokens_total") == before + 1000, "the metrics count the answer")
        self.assertEqual(self.server.models.GetModel(daemon.models_pb2.GetModelRequest()).name, "tiny-tales")
        report("resident after 1,000 tokens", megabytes(int(self.server.process_status()["VmRSS"].split()[0]) * 1024))

    def test_is_healthy(self):
        self.assertTrue(self.server.is_healthy())
        self.assertEqual(self.server.execute("latentctl", "health").stdout, "SERVING\n")

    def test_has_the_load_client_beside_latentctl(self):
        self.assertIn("--concurrency", self.server.execute("latentctl", "load", "--help").stdout)

    def test_has_no_privileges(self):
        status = self.server.process_status()
        for kind in ("Uid", "Gid"):
            self.assertEqual(set(status[kind].split()), {str(UNPRIVILEGED_ID)}, kind)
        for kind in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[kind], 16), 0, kind)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_writes_nowhere(self):
        for folder in ("/", "/tmp", "/run", "/var/tmp", "/models/tiny-tales", "/usr/local/bin"):
            touch = self.server.execute("touch", f"{folder}/probe", options=["--user", "0"], check=False)
            self.assertNotEqual(touch.returncode, 0, folder)
            self.assertIn("Read-only file system", touch.stderr)

    def test_is_held_to_its_memory(self):
        limits = self.server.execute("sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
                                     "/sys/fs/cgroup/memory.max 2>/dev/null", check=False).stdout.split()
        self.assertEqual(limits, [str(MEMORY_BYTES)])

    def test_has_every_library_and_no_build_tool(self):
        for program in PROGRAMS:
            libraries = self.server.execute("ldd", f"/usr/local/bin/{program}").stdout
            self.assertEqual("libgrpc++" in libraries, program != "latentctl-doctor", program)
            self.assertIn("libstdc++", libraries)
            self.assertNotIn("not found", libraries)
        names = " ".join(["sh", *BUILD_TOOLS, "ldd"])
        found = self.server.execute("sh", "-c", f"for name in {names}; do command -v $name; done", check=False).stdout
        self.assertEqual([pathlib.Path(path).name for path in found.split()], ["sh", "ldd"])
        packages = self.server.execute("dpkg-query", "--show", "--showformat", "${Package} ").stdout.split()
        self.assertIn("libc6", packages)
        self.assertEqual([name for name in packages if name.endswith("-dev") or name in BUILD_TOOLS], [])
        self.assertEqual(self.server.execute("find", "/source", "/var/lib/apt/lists", "/var/cache/apt", "-type", "f",
                                             check=False).stdout, "")

    def test_programs_are_stripped(self):
        for program in PROGRAMS:
            with tempfile.NamedTemporaryFile() as copy:
                podman("cp", f"{self.server.id}:/usr/local/bin/{program}", copy.name)
                sections = run("readelf", "--section-headers", copy.name).stdout
            self.assertIn(".dynsym", sections)
            self.assertNotIn(".symtab", sections)


class ImageTest(unittest.TestCase):
    def test_says_what_it_is(self):
        revision = run("git", "rev-parse", "HEAD", check=False).stdout.strip() or "unknown"
        for image in (IMAGE, WITH_MODEL):
            config = json.loads(podman("image", "inspect", image).stdout)[0]["Config"]
            self.assertEqual(config["User"], f"{UNPRIVILEGED_ID}:{UNPRIVILEGED_ID}")
            self.assertEqual(set(config["ExposedPorts"]), {"50051/tcp", "9090/tcp"})
            self.assertEqual((config["Entrypoint"], config["StopSignal"]), (["latentd"], "SIGTERM"))
            labels = {name.rpartition("image.")[2]: value for name, value in config["Labels"].items()}
            self.assertEqual((labels["version"], labels["revision"], labels["base.name"]), (VERSION, revision, BASE))
            self.assertEqual((labels["title"], labels["created"][10]), ("latentd", "T"))
            self.assertTrue(labels["description"])

    def test_size(self):
        base, image, with_model = (int(podman("image", "inspect", "--format", "{{.Size}}", name).stdout)
                                   for name in (BASE, IMAGE, WITH_MODEL))
        report("size", f"{megabytes(image)}, {megabytes(image - base)} above the base of {megabytes(base)}")
        report("size with the bundled model", megabytes(with_model))
        self.assertLess(image - base, MAX_BYTES_ABOVE_BASE)
        self.assertGreater(with_model, image)

    def test_bill_of_materials_is_what_is_there(self):
        def inside(*command):
            return podman("run", "--rm", "--network", "none", "--entrypoint", command[0], IMAGE, *command[1:]).stdout

        bill = json.loads(inside("cat", BILL))
        self.assertEqual(bill["metadata"]["component"]["version"], VERSION)
        created = json.loads(podman("image", "inspect", IMAGE).stdout)[0]["Config"]["Labels"]
        self.assertEqual(bill["metadata"]["timestamp"], created["org.opencontainers.image.created"])
        kinds = {}
        for component in bill["components"]:
            kinds.setdefault(component["bom-ref"].split(":")[0], []).append(component)
        installed = inside("dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n").splitlines()
        self.assertEqual(sorted(f"{each['name']} {each['version']}" for each in kinds["installed"]), sorted(installed))
        headers = {each["name"] for each in kinds["compiled-in"]}
        self.assertLessEqual({"nlohmann-json3-dev", "libcli11-dev", "libabsl-dev"}, headers)
        self.assertEqual({each["name"] for each in kinds["file"]}, {f"/usr/local/bin/{name}" for name in PROGRAMS})
        digests = {each["name"]: each["hashes"][0]["content"] for each in kinds["file"]}
        digest = inside("sha256sum", "/usr/local/bin/latentd").split()[0]
        self.assertEqual(digests["/usr/local/bin/latentd"], digest)
        report("bill of materials", f"{len(bill['components'])} components")

    @unittest.skipUnless(os.environ.get("LATENTD_CUDA_IMAGE"), "the programs were built without nvcc")
    def test_with_cuda_it_looks_for_a_gpu(self):
        image, with_cuda = (int(podman("image", "inspect", "--format", "{{.Size}}", name).stdout)
                            for name in (IMAGE, WITH_CUDA))
        report("size with CUDA", f"{megabytes(with_cuda)}, {megabytes(with_cuda - image)} more")
        self.assertLess(with_cuda - image, MAX_BYTES_OF_CUDA)
        options = ["--rm", "--network", "none", "--volume", f"{MODEL}:/model:ro", "--env=LATENTD_INSECURE=on"]
        done = podman("run", *options, WITH_CUDA, "--device", "cuda:0", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertNotIn("liblatentd_cuda", done.stderr, "the backend is there and finds its runtime")
        done = podman("run", *options, IMAGE, "--device", "cuda:0", check=False)
        self.assertIn("liblatentd_cuda", done.stderr)

    def test_without_a_model_it_says_so_and_exits_1(self):
        options = [option for option in run_options if option != "--detach"]
        done = podman("run", "--rm", *options, *networks[SERVER], IMAGE, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, "^latentd: .*/model.*\n")
        self.assertEqual(done.stdout, "")

    def test_without_credentials_it_does_not_listen_to_all(self):
        options = [option for option in run_options if option not in ("--detach", "--env=LATENTD_INSECURE=on")]
        done = podman("run", "--rm", *options, *networks[SERVER], WITH_MODEL, check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("LATENTD_LISTEN: expected credentials to be asked for", done.stderr)

    def test_model_as_a_volume_gives_the_same_tokens(self):
        def tokens(image, *flags, options=()):
            with Container(image, *flags, options=options) as server:
                name = server.models.GetModel(daemon.models_pb2.GetModelRequest()).name
                return name, server.once(quiet_request(seed=7, max_tokens=200)).token_ids

        _, expected = tokens(WITH_MODEL)
        self.assertEqual(len(expected), 200)
        self.assertEqual(tokens(IMAGE, options=["--volume", f"{MODEL}:/model:ro"]), ("model", expected))
        # A flag goes before what the image's environment says, and the folder names the model.
        self.assertEqual(tokens(IMAGE, "--model", "/models/tales", options=["--volume", f"{MODEL}:/models/tales:ro"]),
                         ("tales", expected))


class SurroundingsTest(unittest.TestCase):
    """Other machines and networks than the plain one. Every container has a dead proxy in its variables, too."""

    def test_ipv6_only(self):
        """Both ports as the image has them listen, for a client and for a scraper."""
        with Container(WITH_MODEL, host=SERVER_IPV6) as server:
            self.assertTrue(server.once(request()).text)
            self.assertTrue(server.is_healthy())
            self.assertEqual(server.sum("requests_finished_total", method="Generate", grpc_code="OK"), 1)
            with urllib.request.urlopen(f"http://{server.metrics_address}/ready", timeout=PATIENCE_SECONDS) as page:
                self.assertEqual(page.read(), b"ready\n")

    def test_quota_decides_the_threads(self):
        with Container(WITH_MODEL, options=["--cpus", "0.5"]) as server:
            self.assertIn("threads: 1 (a cgroup's quota of 0.5 processors", server.log_text())
            self.assertTrue(server.once(request()).text)
            self.assertTrue(server.is_healthy())


class StopTest(unittest.TestCase):
    NUM_STREAMS, NUM_TOKENS = 8, 1900

    def start_stream(self, server, seed):
        """A stream that has begun to answer, and whose answer is too large to be finished before it is read."""
        message = quiet_request(seed, self.NUM_TOKENS)
        message.output.logprobs = 32
        call = server.generation.Generate(message)
        begun = [next(call), next(call)]
        self.assertTrue(begun[1].HasField("delta"))
        return itertools.chain(begun, call)

    def assert_new_requests_are_refused(self, server):
        with self.assertRaises(grpc.RpcError) as caught:
            server.once(request())
        details = Details(caught.exception)
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))

    def test_stop_under_load_loses_nothing(self):
        with Container(WITH_MODEL, "--drain-seconds", "120", "--slow-consumer-seconds", "120") as server:
            expected = [server.once(quiet_request(seed, self.NUM_TOKENS)).token_ids for seed in range(self.NUM_STREAMS)]
            streams = [self.start_stream(server, seed) for seed in range(self.NUM_STREAMS)]
            stop = subprocess.Popen(["podman", "stop", "--time", "240", server.id], stdout=subprocess.DEVNULL)
            self.addCleanup(stop.wait, PATIENCE_SECONDS)
            wait_until(lambda: server.health() == 2, "health says NOT_SERVING")
            self.assertEqual(server.health("latentd.liveness"), 1, "what HEALTHCHECK asks: a drain is no failure")
            self.assert_new_requests_are_refused(server)
            self.assertEqual(server.sum("requests_in_flight"), self.NUM_STREAMS)
            with concurrent.futures.ThreadPoolExecutor(self.NUM_STREAMS) as pool:
                answers = list(pool.map(daemon.Answer, streams))
            self.assertEqual([answer.token_ids for answer in answers], expected)
            for answer in answers:
                self.assertEqual(answer.completed.usage.generated_tokens, self.NUM_TOKENS)
            self.assertEqual(stop.wait(PATIENCE_SECONDS), 0)
            self.assertEqual(server.inspect("State.ExitCode"), "0")
            self.assertIn("stopped", server.log_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Odd surroundings: files that are none, closed descriptors, low limits, process 1. The daemon serves, or says in a
line why it does not, and ends when it is told to. 15 s.
"""
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import daemon
from daemon import BIN, HOLD_TWO, MODEL, PATIENCE_SECONDS, held_request, request, run, wait_until
from loading_daemon import LoadingDaemon, Terminal, free_address, loaded_bytes

UNPRIVILEGED_ID = 65534


class OddStartsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="latentd-test-")))

    def refused(self, done, *parts):
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    # ------------------------------------------------------------------------------------------------ files

    def test_config_that_is_no_file(self):
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for path, what in ((self.folder, "a directory"), ("/dev/zero", "a device"), ("/dev/null", "a device"),
                           (fifo, "a pipe"), (self.folder / "absent", "no such file"),
                           (MODEL / "config.json" / "x", "Not a directory"),
                           (self.folder / ("n" * 300), "File name too long")):
            with self.subTest(path=path):
                self.refused(run("--config", path, "--model", MODEL), str(path), what)

    def test_config_that_tells_no_size_is_read_all_the_same(self):
        """Files of /proc: none of them is a configuration, and none is taken for an empty one."""
        for path, what in (("/proc/version", "/proc/version:1: "), ("/proc/self/mem", "Input/output error"),
                           ("/proc/kallsyms", "at most 1048576 bytes, found more")):
            with self.subTest(path=path):
                self.refused(run("--config", path, "--model", MODEL), path, what)

    def test_texts_with_line_breaks_stay_in_their_line(self):
        odd = self.folder / "two\nlines\x1b[2J"
        for flags in (("--log-level", "a\nb"), ("--config", odd), ("--model", odd), ("--chat-template", odd),
                      ("--generation-config", odd), ("--port-file", odd / "x"), ("--device", "a\nb"),
                      ("--listen", "a\nb:1"), ("--a\nb",), ("--eos-token-ids", "1\n,x"), ("--max-rows", "1\n")):
            with self.subTest(flags=flags):
                done = run("--model", MODEL, *flags) if "--model" not in flags else run(*flags)
                self.refused(done)
                self.assertNotRegex(done.stderr[:-1], r"[\x00-\x1f\x7f]")
        odd.mkdir()
        shutil.copytree(MODEL, odd / "a\nb")
        with daemon.Daemon(model=odd / "a\nb") as server:
            server.await_log("serving ")
            for line in server.log_text().splitlines():
                self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[0-9:.+]+ (info|warning) ")

    def test_config_that_is_too_large(self):
        path = self.folder / "large.toml"
        path.write_text("# " + "x" * (2 << 20))
        self.refused(run("--config", path, "--model", MODEL), "at most 1048576 bytes, found 2097154")

    def test_files_that_may_not_be_read(self):
        """As a user who is not root, to whom nothing is forbidden."""
        model = self.folder / "model"
        shutil.copytree(MODEL, model)
        self.folder.chmod(0o755)
        config = self.folder / "config.toml"
        config.write_text("max-rows = 4\n")
        names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        files = [model / name for name in names if (model / name).exists()]
        for path in (config, *files):
            with self.subTest(path=path.name):
                path.chmod(0)
                self.refused(self.run_unprivileged("--config", config, "--model", model), path.name,
                             "Permission denied")
                path.chmod(0o644)

    def run_unprivileged(self, *flags):
        drop = {} if os.geteuid() != 0 else dict(user=UNPRIVILEGED_ID, group=UNPRIVILEGED_ID, extra_groups=[])
        copy = self.folder / "latentd"  # from where anybody may start it
        if not copy.exists():
            shutil.copy(BIN / "latentd", copy)
        return subprocess.run([copy, *flags], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=PATIENCE_SECONDS, **drop)

    def test_names_that_are_not_utf8(self):
        odd = os.fsencode(self.folder) + b"/model-\xff"
        shutil.copytree(os.fsencode(MODEL), odd)
        self.refused(run("--model", odd), "model", "expected UTF-8", "\\xff")

    # ------------------------------------------------------------------------------------------ descriptors

    def started_without(self, *closed):
        """The open descriptors of the daemon that starts with these ones closed, as {number: what}."""
        close = " ".join(f"{number}<&-" if number == 0 else f"{number}>&-" for number in closed)
        with daemon.Daemon(under=("sh", "-c", f'exec "$0" "$@" {close}')) as server:
            self.assertGreater(len(server.once(request()).text), 20)
            folder = pathlib.Path(f"/proc/{server.process.pid}/fd")
            return {int(entry.name): os.readlink(entry) for entry in folder.iterdir()}

    def test_closed_descriptors_are_devices_not_sockets(self):
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            with self.subTest(closed=closed):
                found = self.started_without(*closed)
                for number in closed:
                    self.assertEqual(found[number], "/dev/null")

    def test_tools_keep_their_numbers_too(self):
        for tool, arguments in (("latentctl", ["--help"]), ("latent-convert", ["inspect", str(MODEL)])):
            done = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&-', BIN / tool, *arguments], capture_output=True,
                                  timeout=PATIENCE_SECONDS)
            self.assertEqual((done.returncode, done.stderr), (0, b""), tool)

    # ------------------------------------------------------------------------------------------------ limits

    def test_small_stacks_make_no_difference(self):
        for kibibytes in (64, 128, 256):
            with self.subTest(kibibytes=kibibytes):
                with daemon.Daemon(under=("sh", "-c", f'ulimit -s {kibibytes} && exec "$0" "$@"')) as server:
                    self.assertGreater(len(server.once(request()).text), 20)

    def limited(self, limit):
        """How a daemon under this limit of the shell's ends; it is told to once it serves."""
        port_file = self.folder / "ports.json"
        process = subprocess.Popen(["sh", "-c", f'ulimit {limit} && exec "$0" "$@"', BIN / "latentd", "--model", MODEL,
                                    "--threads", "2", "--port-file", port_file],
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        wait_until(lambda: port_file.exists() or process.poll() is not None, "it serves or exits")
        serves = process.poll() is None
        if serves:
            process.terminate()
        text = process.communicate(timeout=PATIENCE_SECONDS)[1]
        return serves, process.returncode, text

    def test_few_descriptors_are_a_line(self):
        for count in (5, 8, 16, 32):
            with self.subTest(count=count):
                serves, code, text = self.limited(f"-n {count}")
                self.assertEqual((serves, code, text.count("\n")), (False, 1, 1), text)
                self.assertIn(f"found {count}; raise ulimit -n", text)

    def test_little_memory_is_a_line(self):
        served = set()
        for mebibytes in (40, 60, 86, 90, 100, 130, 200, 300, 350, 400, 500, 700):
            with self.subTest(mebibytes=mebibytes):
                serves, code, text = self.limited(f"-v {mebibytes << 10}")
                served.add(serves)
                if not serves:
                    self.assertGreater(code, 0, f"ended by a signal: {text}")
                    self.assertEqual(text.count("\n"), 1, text)
                    self.assertIn("raise ulimit -v", text)
                else:
                    self.assertEqual(code, 0, text)
        self.assertEqual(served, {False, True}, "the least of these is not enough, the most is")

    def test_little_data_is_a_line(self):
        served = set()
        for mebibytes in (20, 60, 100, 250, 330, 400, 700):
            with self.subTest(mebibytes=mebibytes):
                serves, code, text = self.limited(f"-d {mebibytes << 10}")
                served.add(serves)
                self.assertGreaterEqual(code, 0, f"ended by a signal: {text}")
                if not serves:
                    self.assertEqual(text.count("\n"), 1, text)
                    self.assertIn("ulimit -d", text)
        self.assertEqual(served, {False, True}, "the least of these is not enough, the most is")

    def test_where_it_serves_in_little_address_space_it_serves_many(self):
        """The least that it starts with has room for the threads and buffers of a load, too."""
        with daemon.Daemon(under=("sh", "-c", 'ulimit -v 524288 && exec "$0" "$@"')) as server:
            calls = [server.generation.Generate(request(max_tokens=64, seed=seed), timeout=PATIENCE_SECONDS)
                     for seed in range(32)]
            for call in calls:
                self.assertGreater(len(daemon.Answer(call).text), 20)

    def test_abort_of_a_library_is_a_line(self):
        """As gRPC's allocator aborts where there is no memory: it says nothing itself."""
        server = daemon.Daemon("--log-level", "off")
        self.addCleanup(shutil.rmtree, server.folder)
        server.process.send_signal(signal.SIGABRT)
        self.assertEqual(server.process.wait(PATIENCE_SECONDS), 1)
        self.assertRegex(server.log_text(), r"^latentd: a library gave up; .*\n$")
        server.channel.close()

    # ----------------------------------------------------------------------------------------------- signals

    def test_no_thread_blocks_the_signals_of_its_own_faults(self):
        """Blocked, a fault ends the process by the kernel's default action, whatever handler names the file."""
        faults = {number: 1 << (number - 1) for number in (signal.SIGBUS, signal.SIGSEGV, signal.SIGFPE)}
        with daemon.Daemon() as server:
            server.once(request())
            for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
                fields = dict(line.split(":\t") for line in (task / "status").read_text().splitlines() if ":\t" in line)
                for number, bit in faults.items():
                    self.assertEqual(int(fields["SigBlk"], 16) & bit, 0, f"{number!r} in {fields['Name']}")

    def need_namespaces(self):
        if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode != 0:
            self.skipTest("SKIPPED there may be no process namespaces here")

    @staticmethod
    def signal_process_one(server):
        pid = server.process.pid
        (child,) = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)

    def test_process_one_ends_while_it_loads(self):
        self.need_namespaces()
        with LoadingDaemon(under=("unshare", "--pid", "--fork")) as server:
            self.signal_process_one(server)
            self.assertEqual(server.end(), 0)

    def test_process_one_ends_at_once_at_the_second_signal(self):
        self.need_namespaces()
        server = daemon.Daemon(*HOLD_TWO, "--drain-seconds", "3600", under=("unshare", "--pid", "--fork"))
        self.addCleanup(shutil.rmtree, server.folder)
        call = server.generation.Generate(held_request("held"))
        next(call)
        self.signal_process_one(server)
        wait_until(lambda: server.health() == 2, "the drain has begun")
        self.signal_process_one(server)
        self.assertEqual(server.process.wait(PATIENCE_SECONDS), 128 + signal.SIGTERM)
        server.channel.close()

    # ------------------------------------------------------------------------------------------- what it writes

    def test_full_pipe_as_standard_error_holds_up_nothing(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        flags = fcntl.fcntl(writer, fcntl.F_GETFL)
        fcntl.fcntl(writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        try:
            while os.write(writer, b"x" * 65536):
                pass
        except BlockingIOError:
            fcntl.fcntl(writer, fcntl.F_SETFL, flags)
        port_file = self.folder / "ports.json"
        start = dict(stderr=writer, stdin=subprocess.DEVNULL)
        process = subprocess.Popen([BIN / "latentd", "--model", MODEL, "--port-file", port_file], **start)
        wait_until(port_file.exists, "it serves")
        process.terminate()
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
        refused = subprocess.Popen([BIN / "latentd", "--model", "/nowhere"], **start)
        self.assertEqual(refused.wait(PATIENCE_SECONDS), 1)
        os.close(writer)

    def start(self, port_file, *flags, under=()):
        """A daemon that serves, by the file of its own that it has written."""
        process = subprocess.Popen([*under, BIN / "latentd", "--model", MODEL, "--threads", "2", "--port-file",
                                    port_file, *flags],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        wait_until(lambda: process.poll() is not None or port_file.exists() and self.holder(port_file) == process.pid,
                   "it serves")
        self.assertIsNone(process.poll())
        return process

    @staticmethod
    def holder(port_file):
        return json.loads(port_file.read_text())["pid"]

    def end(self, process, by=signal.SIGTERM):
        process.send_signal(by)
        return process.wait(PATIENCE_SECONDS)

    @staticmethod
    def identity(path):
        """All but the time at which it was read."""
        facts = os.lstat(path)
        return facts.st_ino, facts.st_mode, facts.st_nlink, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns

    def test_port_file_is_there_while_it_serves(self):
        port_file, victim = self.folder / "ports.json", self.folder / "victim"
        killed = self.start(port_file)
        self.assertEqual(self.end(killed, signal.SIGKILL), -signal.SIGKILL)
        self.assertEqual(self.holder(port_file), killed.pid)
        run("--model", "/nowhere", "--port-file", port_file)
        self.assertFalse(port_file.exists(), "a start that is refused leaves no stale one either")
        victim.write_text("untouched")
        for ending in (".tmp", "~", ".new"):
            (self.folder / f"ports.json{ending}").symlink_to(victim)
        self.assertEqual(self.end(self.start(port_file)), 0)
        self.assertFalse(port_file.exists())
        self.assertEqual(victim.read_text(), "untouched")

    def test_port_file_replaces_nothing_that_no_daemon_wrote(self):
        ours = '{"grpc": "127.0.0.1:1", "metrics": "127.0.0.1:2", "pid": 1}\n'
        target = self.folder / "target"
        target.write_text(ours)
        path = self.folder / "ports.json"
        makers = [lambda text=text: path.write_text(text) for text in (
            "", "precious", "{}", (MODEL / "config.json").read_text(), "[" * 5000, ours.replace('",', '",,'),
            '{"grpc": "127.0.0.1:1", "pid": 1}', ours.replace("}", ', "mine": 1}'), ours.replace('"127.0.0.1:1"', "1"),
            ours.replace('"pid": 1', '"pid": "1"'), ours + ours)]
        makers += [lambda: path.symlink_to(target), lambda: path.symlink_to("/proc/self/fd/1"),
                   lambda: path.symlink_to("nowhere"), lambda: path.mkdir(), lambda: os.mkfifo(path)]
        for number, make in enumerate(makers):
            with self.subTest(number=number):
                make()
                before = self.identity(path)
                self.refused(run("--model", "/nowhere", "--port-file", path), "port-file: ", f'"{path}"')
                self.assertEqual(self.identity(path), before)
                (os.rmdir if path.is_dir() else os.unlink)(path)
        self.assertEqual(target.read_text(), ours)

    def test_port_file_that_an_earlier_version_left(self):
        """It wrote the addresses only."""
        path = self.folder / "ports.json"
        for admin in ("", ', "admin": "127.0.0.1:3"'):
            path.write_text('{"grpc": "127.0.0.1:1", "metrics": "127.0.0.1:2"%s}\n' % admin)
            run("--model", "/nowhere", "--port-file", path)
            self.assertFalse(path.exists())

    def test_port_file_of_another_daemon(self):
        """A rolling restart: the daemon that serves last has it; one that fails or ends meanwhile leaves it alone."""
        port_file, address = self.folder / "ports.json", free_address()
        first = self.start(port_file, "--listen", address)
        of_first = self.identity(port_file)
        self.refused(run("--model", MODEL, "--listen", address, "--port-file", port_file), "already in use")
        self.assertEqual(self.identity(port_file), of_first)
        second = self.start(port_file)
        self.assertEqual(self.end(first), 0)
        self.assertEqual(self.holder(port_file), second.pid)
        port_file.unlink()
        port_file.write_text("somebody else's")
        self.assertEqual(self.end(second), 0)
        self.assertEqual(port_file.read_text(), "somebody else's")

    def test_hangups_drain(self):
        """A terminal that closes sends more than one."""
        port_file = self.folder / "ports.json"
        process = self.start(port_file)
        ports = json.loads(port_file.read_text())
        with daemon.grpc.insecure_channel(ports["grpc"]) as channel:
            call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(daemon.long_request())
            next(call)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGHUP)
            self.assertEqual([event for event in call][-1].completed.usage.generated_tokens, 1900)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
        self.assertFalse(port_file.exists())

    def test_hangup_under_nohup_is_nothing(self):
        process = self.start(self.folder / "ports.json", under=("nohup",))
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        masks = {name: int(mask, 16) & 1 for name, mask in re.findall(r"^(Sig\w+):\t(\w+)$", status, re.M)}
        self.assertEqual((masks["SigIgn"], masks["SigBlk"]), (1, 0))
        process.send_signal(signal.SIGHUP)
        self.assertEqual(self.end(process), 0)

    def full_disk(self):
        """A disk of one page, which is free."""
        disk = self.folder / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", disk], capture_output=True, text=True)
        if mount.returncode != 0:
            self.skipTest(f"SKIPPED nothing may be mounted here: {mount.stderr}")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        return disk

    def test_output_on_a_full_disk(self):
        """Whatever a program prints, it says so where not all of it could be written."""
        with open("/dev/full", "w") as full:
            for command in (("latentd", "--print-config"), ("latentd", "--help"), ("latentd", "--version"),
                            ("latentctl", "--help"), ("latentctl", "--version"), ("latent-convert", "inspect", MODEL)):
                with self.subTest(command=command):
                    done = subprocess.run([BIN / command[0], *command[1:]], stdout=full, stderr=subprocess.PIPE,
                                          text=True, timeout=PATIENCE_SECONDS)
                    self.refused(done, f"{command[0]}: standard output: ", "No space left on device")

    def test_port_file_on_a_full_disk(self):
        disk = self.full_disk()
        (disk / "filler").write_bytes(b"x" * 4096)
        self.refused(run("--model", MODEL, "--port-file", disk / "ports.json"), "port-file", "No space left on device")
        self.assertEqual(os.listdir(disk), ["filler"])

    def test_port_file_on_a_disk_that_fills_while_the_model_loads(self):
        disk, terminal, address = self.full_disk(), Terminal(), free_address()
        process = subprocess.Popen([BIN / "latentd", "--model", MODEL, "--metrics-listen", address,
                                    "--port-file", disk / "ports.json"], stderr=terminal.slave,
                                   stdin=subprocess.DEVNULL)
        wait_until(lambda: loaded_bytes(address) is not None, "it loads")
        (disk / "filler").write_bytes(b"x" * 4096)
        terminal.resume()
        self.assertEqual(process.wait(PATIENCE_SECONDS), 1)
        self.assertRegex(terminal.close(),
                         r"(^|\n|\r\x1b\[K)latentd: --port-file: .*: No space left on device; [^\n]*\n$")
        self.assertEqual(os.listdir(disk), ["filler"])

    def test_port_file_larger_than_files_may_be(self):
        """The signal that comes with it is not the end."""
        done = subprocess.run(["sh", "-c", 'ulimit -f 0 && exec "$0" "$@"', BIN / "latentd", "--model", MODEL,
                               "--port-file", self.folder / "ports.json"], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)
        self.refused(done, "port-file", "File too large")
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Profiles of the real daemon: the trace that Admin, latentctl and the knob give, without a word on its speed."""
import collections
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

import grpc

import daemon
from daemon import BIN, MODEL, Daemon, Details, PATIENCE_SECONDS, admin_pb2, pb, request, wait_until

LAYERS = 5
EACH_LAYER = {"AppendLatent", "AttendLatent", "RotateQueries", "AddRmsNorm"}
LINEARS = {"q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj", "gate", "gate_proj", "up_proj",
           "down_proj", "lm_head", "embed_tokens"}
OF_DRAFTS = {"eh_proj", "head"}  # of the layer that drafts
EACH_STEP = {"Embed", "GatherRows", "Sample", "MixExperts", "RouteExperts", "SwiGlu", "RmsNorm", "Linear"}


class Trace:
    """Events of a trace by step; a pass that drafts is one, too."""

    def __init__(self, content):
        events = json.loads(content)["traceEvents"]
        kinds = ("step", "draft")
        self.steps = [event for event in events if event["name"] in kinds]
        self.calls = [[event for event in events if event is not step and event["name"] not in kinds and
                       step["ts"] <= event["ts"] < step["ts"] + step["dur"]] for step in self.steps]
        assert sum(map(len, self.calls)) + len(self.steps) == len(events), "each call lies in one step"


class ProfileTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon("--admin-listen", "127.0.0.1:0"))

    def profile(self, steps):
        stream = self.daemon.admin.ProfileSteps(admin_pb2.ProfileStepsRequest(steps=steps), timeout=PATIENCE_SECONDS)
        return b"".join(chunk.content for chunk in stream)

    def while_it_computes(self, *tasks, message=request(max_tokens=4)):
        """What the tasks return, each in a thread of its own, while requests keep the engine busy until all have."""
        results = [None] * len(tasks)

        def run(index):
            results[index] = tasks[index]()
        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(tasks))]
        for thread in threads:
            thread.start()

        def are_over():
            self.daemon.once(message)
            return not any(thread.is_alive() for thread in threads)
        wait_until(are_over, "the tasks are over")
        for thread in threads:
            thread.join()
        return results

    def check(self, content, steps):
        trace = Trace(content)
        self.assertEqual(len(trace.steps), steps)
        for step, calls in zip(trace.steps, trace.calls):
            self.assertGreaterEqual(step["args"]["tokens"], step["args"]["rows"])
            drafts = step["name"] == "draft"
            by_verb = collections.defaultdict(list)
            for call in calls:
                by_verb[call["name"].split()[0]].append(call["args"].get("layer"))
            if not drafts:
                self.assertEqual(EACH_STEP | EACH_LAYER, set(by_verb) - {"CopyLatents"})
            elif "Sample" in by_verb:  # else its latents are all that is wanted; its layer has experts
                self.assertEqual((EACH_STEP | EACH_LAYER) - {"SwiGlu"}, set(by_verb))
            for verb in ("AppendLatent", "AttendLatent", "RotateQueries"):
                if not drafts:
                    self.assertEqual(by_verb[verb], list(range(LAYERS)), verb)
                elif "Sample" in by_verb:
                    self.assertEqual(by_verb[verb], [LAYERS], verb)
            end = step["ts"]
            for call in calls:
                self.assertGreaterEqual(call["ts"] + 0.002, end, "one after the other")  # rounded to nanoseconds
                end = call["ts"] + call["dur"]
            self.assertLessEqual(end, step["ts"] + step["dur"] + 0.002)
            for call in calls:
                if call["name"].startswith("Linear"):
                    self.assertIn(call["name"].split()[1].split(".")[-1], LINEARS | (OF_DRAFTS if drafts else set()))
                    figures = call["args"]
                    self.assertEqual(figures["flops"] % (2 * figures["rows"]), 0, call)
                    self.assertGreater(figures["bytes"] * figures["GB/s"] * figures["GFLOP/s"], 0)

    def test_admin_streams_a_trace_of_the_next_steps(self):
        (content,) = self.while_it_computes(lambda: self.profile(3))
        self.check(content, 3)

    def test_passes_that_draft_are_told_apart(self):
        drafting = request(max_tokens=24, speculation=pb.Speculation(max_drafts=2))
        (content,) = self.while_it_computes(lambda: self.profile(12), message=drafting)
        self.check(content, 12)
        names = [step["name"] for step in Trace(content).steps]
        self.assertIn("draft", names)
        self.assertIn("step", names)

    def test_two_at_once_follow_each_other(self):
        for content in self.while_it_computes(lambda: self.profile(2), lambda: self.profile(2)):
            self.check(content, 2)

    def test_cancelled_one_makes_room(self):
        stream = self.daemon.admin.ProfileSteps(admin_pb2.ProfileStepsRequest(steps=100))
        stream.cancel()
        (content,) = self.while_it_computes(lambda: self.profile(1))
        self.check(content, 1)

    def test_number_of_steps_has_bounds(self):
        for steps in (0, 101):
            with self.assertRaises(grpc.RpcError) as caught:
                self.profile(steps)
            details = Details(caught.exception)
            self.assertEqual((details.reason, details.fields), ("INVALID_FIELD", ["steps"]))

    def latentctl(self, *arguments):
        return subprocess.run([BIN / "latentctl", "profile", "--admin", self.daemon.admin_address, *arguments],
                              capture_output=True, text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)

    def test_latentctl_prints_it_or_writes_it(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "trace.json"
            patient = ("--steps", "2", "--timeout", str(PATIENCE_SECONDS))
            printed, written = self.while_it_computes(lambda: self.latentctl(*patient),
                                                      lambda: self.latentctl(*patient, "--output", file))
            says = (f"latentctl: recording the next 2 steps that requests take; "
                    f"waits for them at most {PATIENCE_SECONDS} s (--timeout)\n")
            self.assertEqual((printed.returncode, printed.stderr), (0, says))
            self.check(printed.stdout, 2)
            self.assertEqual((written.returncode, written.stdout, written.stderr), (0, "", says))
            self.check(file.read_text(), 2)

    def test_latentctl_fails_where_it_can_not_write(self):
        (run,) = self.while_it_computes(lambda: self.latentctl("--steps", "1", "--output", "/nonexistent/trace"))
        self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 2), run.stderr)

    def test_engine_without_work_leaves_it_waiting(self):
        self.daemon.wait_until_idle()
        run = self.latentctl("--steps", "1", "--timeout", "0.2")
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertEqual(run.stderr.splitlines(), [
            "latentctl: recording the next 1 step that requests take; waits for them at most 0.2 s (--timeout)",
            "latentctl: DEADLINE_EXCEEDED: expected 1 step within 0.2 s, found fewer: send requests meanwhile, or "
            "raise --timeout"])

    def test_without_a_bound_it_says_so_and_waits(self):
        self.daemon.wait_until_idle()
        command = [BIN / "latentctl", "profile", "--admin", self.daemon.admin_address, "--steps", "1", "--timeout", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL) as run:
            self.assertIn("without a bound", run.stderr.readline())
            (content,) = self.while_it_computes(run.stdout.read)
        self.assertEqual(run.returncode, 0)
        self.check(content, 1)

    def test_knob_writes_the_first_steps(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "trace.json"
            with Daemon("--profile", file) as server:
                def is_written():
                    server.once(request(max_tokens=8))
                    return file.stat().st_size > 0
                wait_until(is_written, "32 steps were computed")
                server.await_log("profile: 32 steps written to ")
            self.check(file.read_text(), 32)

    def test_knob_writes_the_steps_that_were_computed_before_the_end(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertGreater(self.profile_at_the_end(folder, MODEL), 1)

    def test_packed_and_int4_weights_have_their_names(self):
        with tempfile.TemporaryDirectory() as folder:
            packed, wide, int4 = (pathlib.Path(folder) / name for name in ("packed", "wide", "int4"))
            to_int4 = ["--dtype", "int4", "--tensors", "projections", "--scales", "nearest"]
            for command in (["pack", MODEL, packed], ["dequantize", MODEL, wide], ["quantize", wide, int4, *to_int4]):
                subprocess.run([BIN / "latent-convert", *command], check=True, capture_output=True,
                               timeout=PATIENCE_SECONDS)
            for model in (packed, int4):
                self.profile_at_the_end(folder, model)

    def profile_at_the_end(self, folder, model):
        """Checks the trace of fewer than 32 steps and returns their number."""
        file = pathlib.Path(folder) / "trace.json"
        with Daemon("--profile", file, "--device", "cpu", model=model) as server:
            server.once(request(max_tokens=4))
        trace = file.read_text()
        steps = len(Trace(trace).steps)
        self.assertLess(steps, 32)
        self.check(trace, steps)
        return steps

    def test_file_that_can_not_be_written_is_refused_at_the_start(self):
        refused = daemon.run("--model", daemon.MODEL, "--profile", "/nonexistent/trace.json")
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn("profile: expected a file that can be written, found ", refused.stderr)

    def test_file_that_is_no_trace_is_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            text, link, pipe = (pathlib.Path(folder) / name for name in ("notes.json", "link", "pipe"))
            text.write_text("precious")
            link.symlink_to(text)
            os.mkfifo(pipe)
            for path in (text, link, pipe, pathlib.Path(folder)):
                refused = daemon.run("--model", daemon.MODEL, "--profile", path)
                self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
                self.assertIn("profile: expected a path where nothing is, or an earlier trace, found ", refused.stderr)
            self.assertEqual(text.read_text(), "precious")


if __name__ == "__main__":
    unittest.main(verbosity=2)

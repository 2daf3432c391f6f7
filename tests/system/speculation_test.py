"""Drafts change no byte of an answer: off, two ahead and auto on the real daemon, and what each tells of them. 6 s."""
import concurrent.futures
import json
import subprocess
import tempfile
import unittest

import grpc

import laws
from daemon import BIN, Answer, Daemon, Details, PATIENCE_SECONDS, models_pb2, pb, request
from n_test import said

KING = "Once upon a time there was a king who had"
GREEDY = pb.Sampling(temperature=0)
LONG = pb.Stopping(max_tokens=120, ignore_eos=True)
MAX_DRAFTS = 8


def cases():
    """{what is special about it: the request}; all report ids and log-probabilities."""
    penalties = pb.Sampling(temperature=0.7, top_p=0.9, presence_penalty=0.5, frequency_penalty=0.3,
                            repetition_penalty=1.2, logit_bias={100: 2.0, 200: -3.0})
    all_cases = {
        "greedy": request(KING, sampling=GREEDY, stopping=LONG),
        "drawn": request(KING, sampling=pb.Sampling(temperature=1, top_p=1), stopping=LONG),
        "penalties": request(KING, sampling=penalties, stopping=LONG),
        "stop string": request(KING, sampling=GREEDY, stopping=pb.Stopping(stop=["the "], min_tokens=9)),
        "two answers": request(KING, sampling=pb.Sampling(n=2, temperature=1), stopping=LONG),
        "end of sequence": request(KING, sampling=pb.Sampling(temperature=1, logit_bias={1: 4.0}), max_tokens=400),
        "chat": pb.ChatRequest(messages=[pb.ChatMessage(role="user", content=KING)], sampling=pb.Sampling(seed=3),
                               stopping=LONG),
    }
    for max_tokens in range(1, 7):  # the last draft, the one behind it, none
        all_cases[f"{max_tokens} tokens"] = request(KING, sampling=GREEDY, max_tokens=max_tokens)
    for message in all_cases.values():
        message.output.token_ids = True
        message.output.logprobs = 3
    return all_cases


def ask(server, message, **speculation):
    message = type(message).FromString(message.SerializeToString())
    if speculation:
        message.speculation.CopyFrom(pb.Speculation(**speculation))
    method = server.generation.Chat if isinstance(message, pb.ChatRequest) else server.generation.Generate
    return Answer(method(message, timeout=PATIENCE_SECONDS))


def drafts(answers):
    """Drafted and accepted tokens of all."""
    usages = [answer.completed.usage for answer in answers]
    return sum(usage.drafted_tokens for usage in usages), sum(usage.accepted_tokens for usage in usages)


def counted(server):
    return server.sum("spec_drafted_tokens_total"), server.sum("spec_accepted_tokens_total")


def limits(server):
    found = server.models.GetModel(models_pb2.GetModelRequest()).limits
    return found.max_drafts, found.default_drafts if found.HasField("default_drafts") else None


class SpeculationTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cases = cases()
        with Daemon("--speculate", "off") as server:
            answers = {name: ask(server, message) for name, message in cls.cases.items()}
            cls.of_off = limits(server), drafts(answers.values()), counted(server), server.sum("spec_k")
            cls.of_asking_anyway = ask(server, cls.cases["greedy"], max_drafts=MAX_DRAFTS)
        cls.expected = {name: said(answer) for name, answer in answers.items()}
        cls.two = cls.enterClassContext(Daemon("--speculate", "2"))
        cls.auto = cls.enterClassContext(Daemon())

    def tearDown(self):
        for server in (self.two, self.auto):
            self.assertEqual(laws.violations(server.metrics()), [])

    def check(self, server, **speculation):
        """Each case alone, then all at once; returns the answers."""
        alone = {name: ask(server, message, **speculation) for name, message in self.cases.items()}
        with concurrent.futures.ThreadPoolExecutor(len(self.cases)) as pool:
            calls = {name: pool.submit(ask, server, message, **speculation) for name, message in self.cases.items()}
            beside = {name: call.result() for name, call in calls.items()}
        for answers in (alone, beside):
            for name, answer in answers.items():
                with self.subTest(case=name, **speculation):
                    self.assertEqual(said(answer), self.expected[name])
        return [*alone.values(), *beside.values()]

    def test_off_drafts_nothing_whatever_a_request_asks_for(self):
        self.assertEqual(self.of_off, ((0, 0), (0, 0), (0, 0), 0))
        self.assertEqual(said(self.of_asking_anyway), self.expected["greedy"])
        self.assertEqual(drafts([self.of_asking_anyway]), (0, 0))

    def test_two_ahead_are_the_same_bytes_and_are_counted(self):
        self.assertEqual(limits(self.two), (2, 2))
        before = counted(self.two)
        drafted, accepted = drafts(self.check(self.two))
        self.assertGreater(accepted, 0)
        self.assertGreater(drafted, accepted)
        self.two.wait_until_idle()
        after = counted(self.two)
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (drafted, accepted))
        for fate in ("drafted", "accepted"):
            counts = [self.two.sum(f"spec_{fate}_tokens_total", position=str(i)) for i in range(1, MAX_DRAFTS + 1)]
            self.assertTrue(all(counts[:2]), counts)
            self.assertFalse(any(counts[2:]), counts)

    def test_auto_is_the_same_bytes(self):
        max_drafts, default = limits(self.auto)
        self.assertGreater(max_drafts, 0)
        self.assertIsNone(default)
        self.check(self.auto)

    def test_a_request_says_how_many_beside_auto(self):
        for max_drafts in (1, 3, MAX_DRAFTS):
            drafted, accepted = drafts(self.check(self.auto, max_drafts=max_drafts))
            self.assertGreater(accepted, 0)
            self.assertGreaterEqual(drafted, accepted)

    def test_a_request_turns_it_off(self):
        for server in (self.two, self.auto):
            before = counted(server)
            self.assertEqual(drafts(self.check(server, max_drafts=0)), (0, 0))
            self.assertEqual(counted(server), before)

    def test_too_many_are_refused_by_name(self):
        for name in ("greedy", "chat"):
            with self.assertRaises(grpc.RpcError) as caught:
                ask(self.auto, self.cases[name], max_drafts=MAX_DRAFTS + 1)
            details = Details(caught.exception)
            self.assertEqual((details.code, details.reason, details.fields),
                             (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["speculation.max_drafts"]))
            self.assertEqual(details.message, "speculation.max_drafts: expected 0 to 8, found 9")

    def test_log_line_has_them(self):
        message = self.cases["greedy"]
        message.request_id = "drafted"
        drafted, accepted = drafts([ask(self.two, message)])
        self.two.await_log(rf"request_id=drafted .* drafted_tokens={drafted} accepted_tokens={accepted} ")

    def latentctl(self, *arguments):
        run = subprocess.run([BIN / "latentctl", *arguments, "--server", self.auto.address], capture_output=True,
                             text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run

    def test_latentctl_asks_for_them_and_prints_what_came_of_them(self):
        flags = ("--temperature", "0", "--max-tokens", "40", "--ignore-eos", "--stats", KING)
        drafting = self.latentctl("generate", "--max-drafts", "2", *flags)
        plain = self.latentctl("generate", "--max-drafts", "0", *flags)
        self.assertRegex(drafting.stderr, r"^40 tokens, .*, [1-9]\d* of [1-9]\d* drafts accepted\n$")
        self.assertNotIn("drafts", plain.stderr)
        self.assertEqual(drafting.stdout, plain.stdout)

    def test_load_client_reports_them(self):
        before = counted(self.auto)
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            run = self.latentctl("load", "--requests", "6", "--concurrency", "3", "--text", KING, "--output-tokens",
                                 "40", "--temperature", "0", "--max-drafts", "2", "--json", file.name)
            report = json.load(file)
        found = report["speculation"]
        after = counted(self.auto)
        self.assertEqual((found["drafted_tokens"], found["accepted_tokens"]),
                         (after[0] - before[0], after[1] - before[1]))
        self.assertEqual(found["acceptance"], found["accepted_tokens"] / found["drafted_tokens"])
        self.assertEqual(found["tokens_per_step"], 6 * 40 / (6 * 40 - found["accepted_tokens"]))
        self.assertEqual(report["parameters"]["workload"]["max_drafts"], 2)
        self.assertIn(f"speculation {found['drafted_tokens']} drafted, {found['accepted_tokens']} accepted", run.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)

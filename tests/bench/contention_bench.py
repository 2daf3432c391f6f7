#!/usr/bin/python3
"""What others' requests cost a client, and what the prefix cache saves it, on the real daemon with the bundled model.
Times to first token are the server's own, so a slow client of the bench is no part of them.

Usage: tests/bench/contention_bench.py; needs latentd, latentctl and latentctl-load (make bench builds them), and the
stubs of the tests in Python (LATENTD_STUBS)."""
import collections
import math
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import daemon  # noqa: E402
from daemon import BIN, Daemon, pb  # noqa: E402

SHORT_PROMPT, SHORT_ANSWER = 12, 16  # tokens
VOCABULARY = 4000
CONTEXT = 2048


def ids(count, seed):
    """Token ids that no other seed shares."""
    value = seed * 7919 + 17
    tokens = []
    for _ in range(count):
        value = (value * 1103515245 + 12345) % 2**31
        tokens.append(300 + value % (VOCABULARY - 300))
    return tokens


def ask(server, tokens, answer_tokens, tenant=None, timeout=120):
    request = pb.GenerateRequest(token_ids=pb.TokenIds(ids=tokens),
                                 sampling=pb.Sampling(temperature=0),
                                 stopping=pb.Stopping(max_tokens=answer_tokens, ignore_eos=True),
                                 output=pb.Output(token_ids=True))
    metadata = [("x-latentd-tenant", tenant)] if tenant else None
    return server.generation.GenerateOnce(request, timeout=timeout, metadata=metadata)


def ttft(result):
    return result.completed.timings.time_to_first_token_seconds


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def victim(server, seconds, first_seed):
    """Short requests, one after the other, each of new tokens."""
    times, until, seed = [], time.monotonic() + seconds, first_seed
    while time.monotonic() < until:
        times.append(ttft(ask(server, ids(SHORT_PROMPT, seed), SHORT_ANSWER)))
        seed += 1
    return times


class Load:
    """latentctl load beside the victim; leaving it ends the load."""

    def __init__(self, server, *flags):
        self.folder = tempfile.TemporaryDirectory(prefix="latentd-bench-")
        self.report = pathlib.Path(self.folder.name) / "report.json"
        self.process = subprocess.Popen(
            [BIN / "latentctl", "load", "--server", server.address, "--duration", "3600", "--seed", "7",
             "--json", self.report, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        time_until = time.monotonic() + 5
        daemon.wait_until(lambda: time.monotonic() > time_until, "the load is under way")
        return self

    def __exit__(self, *_):
        self.process.send_signal(2)
        self.process.wait(60)
        self.folder.cleanup()


def step_seconds(server):
    """The 99th percentile of the steps so far, by the histogram's buckets."""
    buckets = collections.Counter()
    for name, count in server.metrics().items():
        if name.startswith("latentd_step_seconds_bucket"):
            buckets[float(re.search(r'le="([^"]*)"', name)[1])] += count
    return min(bound for bound, count in buckets.items() if count >= 0.99 * buckets[math.inf])


def report(name, figure, limit):
    print(f"{name:58} {figure:>34}   {limit}", flush=True)


def repeated_prompt():
    with Daemon() as server:
        prompt = ids(2000, 1)
        cold = ttft(ask(server, prompt, 8))
        warm = statistics.median(ttft(ask(server, prompt, 8)) for _ in range(5))
        report("repeated prompt of 2,000 tokens: TTFT",
               f"{cold * 1e3:.0f} ms cold, {warm * 1e3:.1f} ms again: {100 * warm / cold:.1f} %", "at most 5 %")


def beside_long_requests(clients, rows):
    with Daemon("--max-rows", str(rows)) as server:
        alone = victim(server, 8, 1000)
        with Load(server, "--concurrency", str(clients), "--prompt-tokens", "1000:600:200:1900",
                  "--output-tokens", "120"):
            beside = victim(server, 20, 100000)
            step = step_seconds(server)
        limit = 1.5 * quantile(alone, 0.99) + step
        report(f"TTFT beside {clients} long requests, {rows} rows: p50, p99",
               f"{quantile(beside, .5) * 1e3:.0f}, {quantile(beside, .99) * 1e3:.0f} ms of {len(beside)}",
               f"alone {quantile(alone, .5) * 1e3:.1f}, {quantile(alone, .99) * 1e3:.1f} ms, "
               f"step p99 {step * 1e3:.0f} ms: "
               f"at most {limit * 1e3:.0f} ms")


def long_prompt_beside_short_ones():
    def load(server, flags):
        with Load(server, "--concurrency", "16", "--prompt-tokens", str(SHORT_PROMPT),
                  "--output-tokens", str(SHORT_ANSWER)):
            return flags(server)

    def with_long(server):
        times = []
        for seed in range(40):
            ask_long = server.generation.GenerateOnce.future(
                pb.GenerateRequest(token_ids=pb.TokenIds(ids=ids(CONTEXT // 2, 5000 + seed)),
                                   stopping=pb.Stopping(max_tokens=1)), timeout=120)
            while not ask_long.done():
                times.append(ttft(ask(server, ids(SHORT_PROMPT, 200000 + seed * 1000 + len(times)), SHORT_ANSWER)))
        return times

    with Daemon() as server:
        alone = load(server, lambda it: victim(it, 10, 1000))
        beside = load(server, with_long)
        report("TTFT beside 16 short ones and a prompt of half the context",
               f"p50 {quantile(beside, .5) * 1e3:.1f}, p99 {quantile(beside, .99) * 1e3:.1f} ms of {len(beside)}",
               f"without p50 {quantile(alone, .5) * 1e3:.1f}, "
               f"p99 {quantile(alone, .99) * 1e3:.1f} ms: at most twice")


def conversation():
    with Daemon() as server:
        tokens, new = ids(50, 3), 50
        for turn in range(20):
            result = ask(server, tokens, 20)
            tokens = tokens + list(result.sequences[0].output.token_ids) + ids(30, 900 + turn)
            new += 30 if turn < 19 else 0
        computed = server.sum("prompt_tokens_total", source="computed")
        report("conversation of 20 turns: prompt tokens computed", f"{computed:.0f}",
               f"{new} are new, and one more a turn")


def main():
    repeated_prompt()
    conversation()
    beside_long_requests(60, 64)
    beside_long_requests(60, 16)
    beside_long_requests(200, 64)
    long_prompt_beside_short_ones()


if __name__ == "__main__":
    main()

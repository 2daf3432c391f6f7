"""The conservation laws that every scrape of the daemon satisfies (deploy/METRICS.md)."""
import re

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})?$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Scrape:
    """One scrape, by name and labels, without buckets; `samples` is {'name{labels}': value}."""

    def __init__(self, samples):
        self.series = []
        for sample, value in samples.items():
            if "_bucket{" in sample:
                continue  # most of the page, and no law needs them
            name, labels = SAMPLE.match(sample).groups()
            self.series.append((name, dict(LABEL.findall(labels or "")), value))

    def sum(self, name, **labels):
        return sum(value for found, has, value in self.series
                   if found == "latentd_" + name and all(has.get(key) == wanted for key, wanted in labels.items()))

    def values_of(self, name, label):
        return {has[label] for found, has, _ in self.series if found == "latentd_" + name}


def violations(samples):
    """Each law that does not hold, with its two sides."""
    scrape = Scrape(samples)
    total = scrape.sum
    laws = [("received = finished + in flight", total("requests_received_total"),
             total("requests_finished_total") + total("requests_in_flight")),
            ("prompt tokens: admitted = computed + cached + abandoned + pending",
             total("prompt_tokens_admitted_total"),
             total("prompt_tokens_total", source="computed") + total("prompt_tokens_total", source="prefix_cache") +
             total("prompt_tokens_abandoned_total") + total("prompt_tokens_pending")),
            ("tokens found in the prefix cache were looked for",
             max(0, total("prefix_cache_hit_tokens_total") - total("prefix_cache_queried_tokens_total")), 0),
            ("blocks: free + active + cached + reserved = total",
             sum(total("kv_blocks", state=state) for state in ("free", "active", "cached", "reserved")),
             total("kv_blocks_capacity")),
            ("no broken book of blocks", total("kv_invariant_violations_total"), 0),
            ("steps by kind = steps by rows", total("step_seconds_count"), total("step_rows_count")),
            ("steps by rows = steps by tokens", total("step_rows_count"), total("step_tokens_count")),
            ("one state", total("state"), 1),
            ("requests with a queue time = with a prompt length", total("queue_seconds_count"),
             total("prompt_length_tokens_count"))]
    drafted, accepted = ([total(f"spec_{fate}_tokens_total", position=str(position)) for position in range(1, 9)]
                         for fate in ("drafted", "accepted"))
    for counts in (drafted, accepted):
        laws.append(("a draft stands behind the one before it", counts, sorted(counts, reverse=True)))
    laws.append(("accepted drafts were verified", [max(pair) for pair in zip(drafted, accepted)], drafted))
    for reason in scrape.values_of("request_duration_seconds_count", "outcome"):
        laws.append((f"durations of {reason} = finished", total("request_duration_seconds_count", outcome=reason),
                     total("requests_finished_total", reason=reason)))
    for name in ("requests_in_flight", "requests_waiting", "kv_blocks", "prompt_tokens_pending", "stream_backlog_bytes",
                 "model_load_bytes"):
        laws.append((f"nothing negative in {name}", [v for n, _, v in scrape.series
                                                     if n == "latentd_" + name and v < 0], []))
    return [f"{law}: {left} != {right}" for law, left, right in laws if left != right]

#!/usr/bin/env python3
"""Prints the dashboard: deploy/grafana/make_dashboard.py > deploy/grafana/latentd.json (a test compares them).

A panel is a line of PANELS; Grafana's own fields are in the functions below.
"""
import json

CHOSEN = 'job=~"$job", instance=~"$instance"'


def rate(metric, by, **labels):
    chosen = ", ".join([CHOSEN, *(f'{name}{value}' for name, value in labels.items())])
    return f"sum by ({by}) (rate({metric}{{{chosen}}}[$__rate_interval]))"


def gauge(metric, by, **labels):
    chosen = ", ".join([CHOSEN, *(f'{name}{value}' for name, value in labels.items())])
    return f"sum by ({by}) ({metric}{{{chosen}}})"


def quantiles(histogram, by=""):
    """p50, p95 and p99 of a histogram's recent values."""
    groups, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    return [(f"histogram_quantile({q / 100}, {rate(histogram + '_bucket', groups)})", f"p{q}{legend}")
            for q in (50, 95, 99)]


def mean(histogram):
    return f"{rate(histogram + '_sum', 'instance')} / {rate(histogram + '_count', 'instance')}"


def one(expression, legend):
    return [(expression, legend)]


REFUSED = '=~"QUEUE_FULL|QUEUE_TOKENS|TENANT_QUOTA|SLO_UNATTAINABLE|INTAKE_FULL|ANSWERS_FULL|LOADING|DRAINING"'
# Rows of panels: (title, unit, what it tells, [(expression, legend)]).
PANELS = {
    "Service": [
        ("State", "short", "The state that each process is in",
         one(f"latentd_state{{{CHOSEN}}} == 1", "{{instance}} {{state}}")),
        ("Requests that ended", "reqps", "By status",
         one(rate("latentd_requests_finished_total", "grpc_code"), "{{grpc_code}}")),
        ("Time to first token", "s", "From arrival, over all outcomes", quantiles("latentd_time_to_first_token_seconds")),
        ("Between tokens", "s", "As the engine made them", quantiles("latentd_inter_token_latency_seconds")),
        ("Generated tokens", "short", "Tokens per second that answers were given, and that a stop string cut off",
         one(rate("latentd_generated_tokens_total", "instance, outcome"), "{{instance}} {{outcome}}")),
        ("Prompt tokens", "short", "Tokens per second by source: recomputed ones were lost to a preemption",
         one(rate("latentd_prompt_tokens_total", "source"), "{{source}}")),
        ("In flight", "short", "RPCs by the phase they are in",
         one(gauge("latentd_requests_in_flight", "phase"), "{{phase}}")),
        ("Duration", "s", "From arrival to the status", quantiles("latentd_request_duration_seconds")),
        ("Prompts", "short", "Their length in tokens", quantiles("latentd_prompt_length_tokens")),
        ("Answers", "short", "Their length in tokens", quantiles("latentd_generation_length_tokens")),
    ],
    "Queue and refusals": [
        ("Waiting", "short", "Sequences without a place in a step, by priority",
         one(gauge("latentd_requests_waiting", "instance, priority"), "{{instance}} priority {{priority}}")),
        ("What waits lack", "short", "Sequences left out of steps, per second, by what the first of them lacked",
         one(rate("latentd_queue_wait_reason_total", "reason"), "{{reason}}")),
        ("Time in the queue", "s", "From arrival to the first step", quantiles("latentd_queue_seconds")),
        ("Prefill", "s", "From the first step to the first token", quantiles("latentd_prefill_seconds")),
        ("Refused", "reqps", "RPCs refused for the state or the limits of the server",
         one(rate("latentd_requests_finished_total", "reason", reason=REFUSED), "{{reason}}")),
        ("Refused for load", "percentunit", "Share of the model's RPCs; LatentdRefusesForLoad fires at 5 %",
         one(f"instance:latentd_refused_for_load:ratio_rate5m{{{CHOSEN}}}", "{{instance}}")),
        ("First tokens later than 2 s", "percentunit", "The objective is 1 %",
         one('job:latentd_first_token_misses:ratio_rate5m{job=~"$job"}', "5 m") +
         one('job:latentd_first_token_misses:ratio_rate1h{job=~"$job"}', "1 h") +
         one('job:latentd_first_token_misses:ratio_rate6h{job=~"$job"}', "6 h")),
        ("Prompt tokens to compute", "short", "Of live requests",
         one(gauge("latentd_prompt_tokens_pending", "instance"), "{{instance}}")),
        ("Deadlines that passed", "reqps", "By phase",
         one(rate("latentd_deadline_exceeded_total", "phase"), "{{phase}}")),
    ],
    "Cache": [
        ("Blocks", "short", "64 tokens each", one(gauge("latentd_kv_blocks", "instance, state"), "{{instance}} {{state}}")),
        ("Held by requests", "percentunit", "Share of the cache; LatentdCacheFull fires at 95 %",
         one(f"instance:latentd_kv_usage:ratio{{{CHOSEN}}}", "{{instance}}")),
        ("Prefix cache", "percentunit", "Share of prompt tokens found, of those looked for",
         one(f"{rate('latentd_prefix_cache_hit_tokens_total', 'instance')} / "
             f"{rate('latentd_prefix_cache_queried_tokens_total', 'instance')}", "{{instance}}")),
        ("Prefixes lost", "short", "Tokens per second that are or were there and were not taken",
         one(rate("latentd_prefix_cache_lost_tokens_total", "cause"), "{{cause}}")),
        ("Evictions and preemptions", "short", "Blocks that made room; sequences that lost theirs, per second",
         one(rate("latentd_kv_evictions_total", "instance"), "{{instance}} evictions") +
         one(rate("latentd_preemptions_total", "reason"), "preempted for {{reason}}")),
        ("Without blocks", "s", "Time that preempted requests waited for blocks again",
         quantiles("latentd_preempted_seconds")),
        ("KV events", "short", "Per second: published to routers, and lost before they could be",
         one(rate("latentd_kv_events_published_total", "instance"), "{{instance}} published") +
         one(rate("latentd_kv_events_missed_total", "instance"), "{{instance}} lost")),
        ("Tokens computed in vain", "short", "Per second, by cause",
         one(rate("latentd_wasted_tokens_total", "cause"), "{{cause}}")),
    ],
    "Engine": [
        ("Step", "s", "Duration, by what its rows were computing", quantiles("latentd_step_seconds", "kind")),
        ("Rows of a step", "short", "Mean", one(mean("latentd_step_rows"), "{{instance}}")),
        ("Tokens of a step", "short", "Mean", one(mean("latentd_step_tokens"), "{{instance}}")),
        ("Scheduler", "s", "Part of a step outside of the model", quantiles("latentd_scheduler_seconds")),
        ("Between steps", "s", "From the end of a step that left work behind", quantiles("latentd_step_gap_seconds")),
        ("Drafts accepted", "percentunit", "Of those verified, by their place in the row",
         one(f"{rate('latentd_spec_accepted_tokens_total', 'position')} / "
             f"({rate('latentd_spec_drafted_tokens_total', 'position')} > 0)", "{{position}}")),
        ("Drafts of a row", "short", "That speculate=auto chose last", one(f"latentd_spec_k{{{CHOSEN}}}", "{{instance}}")),
        ("Faults", "short", "Since the start: stalls, rows that were not finite, broken invariants",
         one(gauge("latentd_engine_stalls_total", "instance"), "{{instance}} stalls") +
         one(gauge("latentd_nonfinite_rows_total", "instance"), "{{instance}} rows not finite") +
         one(gauge("latentd_kv_invariant_violations_total", "instance"), "{{instance}} invariants")),
        ("From cancel to release", "s", "Until a cancelled request's blocks are free",
         quantiles("latentd_cancel_to_release_seconds")),
    ],
    "Tenants": [
        ("Service", "short", "Prompt tokens, and twice those generated, per second; without a name: all others",
         one(rate("latentd_tenant_service_tokens_total", "tenant"), "tenant {{tenant}}")),
        ("Fairness", "short", "Jain's index of the active tenants' recent service: 1 is equal",
         one(f"latentd_tenant_fairness_index{{{CHOSEN}}}", "{{instance}}")),
    ],
    "Connections and buffers": [
        ("Connections", "short", "Open now",
         one(gauge("latentd_connections", "instance, listener"), "{{instance}} {{listener}}")),
        ("Connections refused and cut off", "short", "Per second",
         one(rate("latentd_connections_refused_total", "reason"), "refused: {{reason}}") +
         one(rate("latentd_connections_cut_off_total", "reason"), "cut off: {{reason}}")),
        ("Credentials refused", "short", "RPCs and scrapes per second: without a known credential, or without the right",
         one(rate("latentd_access_unauthenticated_total", "listener"), "unknown: {{listener}}") +
         one(rate("latentd_access_denied_total", "listener"), "no right: {{listener}}")),
        ("Output that waits", "bytes", "Of all streams",
         one(gauge("latentd_stream_backlog_bytes", "instance"), "{{instance}}")),
        ("Slow readers", "short", "Sequences per second",
         one(rate("latentd_slow_consumer_total", "action"), "{{action}}")),
        ("Buffered messages", "percentunit", "Of what they may come to",
         one(f"{gauge('latentd_buffered_bytes', 'instance, kind')} / "
             f"{gauge('latentd_buffered_bytes_capacity', 'instance, kind')}", "{{instance}} {{kind}}")),
    ],
    "Process": [
        ("Processors", "short", "In use",
         one(f"rate(process_cpu_seconds_total{{{CHOSEN}}}[$__rate_interval])", "{{instance}}")),
        ("Memory", "bytes", "Resident, and the cache in it",
         one(f"process_resident_memory_bytes{{{CHOSEN}}}", "{{instance}} resident") +
         one(f"latentd_kv_bytes{{{CHOSEN}}}", "{{instance}} cache")),
        ("Descriptors", "percentunit", "Open, of the limit",
         one(f"process_open_fds{{{CHOSEN}}} / process_max_fds{{{CHOSEN}}}", "{{instance}}")),
        ("Up for", "s", "Since the start",
         one(f"time() - process_start_time_seconds{{{CHOSEN}}}", "{{instance}}")),
        ("Start", "s", "How long each stage took",
         one(f"latentd_startup_seconds{{{CHOSEN}}}", "{{instance}} {{stage}}")),
        ("Version", "short", "What runs",
         one(f"latentd_build_info{{{CHOSEN}}}", "{{instance}} {{version}} {{compiler}} {{architecture}}")),
        ("Model", "short", "What is served",
         one(f"latentd_model_info{{{CHOSEN}}}", "{{instance}} {{name}} {{quantization}} {{revision}}")),
    ],
}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 4, 6, 7  # Grafana's grid is 24 wide


def panel(number, place, title, unit, description, targets):
    return {
        "id": number, "type": "timeseries", "title": title, "description": description, "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": WIDTH, **place},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"lineWidth": 1, "fillOpacity": 8,
                                                                       "showPoints": "never"}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [{"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
                    for index, (expression, legend) in enumerate(targets)],
    }


def panels():
    number, y = 0, 0
    for row, members in PANELS.items():
        number += 1
        yield {"id": number, "type": "row", "title": row, "collapsed": False, "panels": [],
               "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}}
        y += 1
        for index, member in enumerate(members):
            number += 1
            yield panel(number, {"x": index % COLUMNS * WIDTH, "y": y + index // COLUMNS * HEIGHT}, *member)
        y += -(-len(members) // COLUMNS) * HEIGHT


def variable(name, query, **more):
    return {"name": name, "label": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2,
            "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, **more}


DASHBOARD = {
    "uid": "latentd", "title": "latentd", "tags": ["latentd"], "schemaVersion": 39, "editable": True,
    "timezone": "browser", "refresh": "15s", "time": {"from": "now-1h", "to": "now"}, "graphTooltip": 1,
    "annotations": {"list": [{
        "name": "Alerts", "datasource": SOURCE, "enable": True, "iconColor": "red", "titleFormat": "{{alertname}}",
        "expr": 'ALERTS{alertname=~"Latentd.*", alertstate="firing"}', "step": "60s", "textFormat": "{{instance}}"}]},
    "templating": {"list": [
        {"name": "datasource", "label": "datasource", "type": "datasource", "query": "prometheus", "current": {}},
        variable("job", "label_values(latentd_state, job)"),
        variable("instance", 'label_values(latentd_state{job=~"$job"}, instance)'),
    ]},
    "panels": list(panels()),
}

if __name__ == "__main__":
    print(json.dumps(DASHBOARD, indent=1))

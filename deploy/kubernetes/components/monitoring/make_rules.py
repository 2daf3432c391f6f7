#!/usr/bin/env python3
"""Prints the Prometheus operator's form of deploy/prometheus/rules; a test compares it with rules.yaml beside it:

deploy/kubernetes/components/monitoring/make_rules.py > deploy/kubernetes/components/monitoring/rules.yaml
"""
import pathlib

RULES = pathlib.Path(__file__).resolve().parents[3] / "prometheus/rules"
HEAD = """# Printed by make_rules.py from deploy/prometheus/rules.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: latentd
  labels: {app.kubernetes.io/name: latentd}
spec:
  groups:
"""


def groups(file):
    return file.read_text().split("\ngroups:\n", 1)[1]


if __name__ == "__main__":
    text = "".join(groups(RULES / name) for name in ("recording.yml", "alerts.yml"))
    print(HEAD + "\n".join(f"  {line}".rstrip() for line in text.splitlines()))

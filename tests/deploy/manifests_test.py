"""Kubernetes' manifests and compose.yaml: rendered, and held to what the daemon and each other say."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

import manifests
from manifests import KUBERNETES, OVERLAYS, ROOT, container, environment, one, rendered, workload

BIN = pathlib.Path(os.environ.get("LATENTD_BIN", ROOT / "build/release/bin"))
COMPOSE = ROOT / "deploy/compose/compose.yaml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def ports_of(service):
    return [port["port"] for port in service["spec"]["ports"]]


@unittest.skipUnless(manifests.renderer(), "SKIPPED manifests: expected kubectl or kustomize on PATH, found neither")
class KubernetesTest(unittest.TestCase):
    def test_each_component_is_part_of_an_overlay(self):
        for overlay in OVERLAYS:
            self.assertTrue(rendered(overlay))
        used = {path.parent.name for path in KUBERNETES.glob("components/*/kustomization.yaml")}
        named = set(re.findall(r"components/([\w-]+)$", "\n".join(
            (KUBERNETES / overlay / "kustomization.yaml").read_text() for overlay in OVERLAYS), re.M))
        self.assertEqual(used, named)

    def test_probes_ask_the_services_that_the_daemon_has(self):
        for overlay in OVERLAYS:
            pod = container(overlay)
            if "LATENTD_TLS_CERT" in environment(overlay):
                continue
            services = [pod[f"{kind}Probe"]["grpc"].get("service", "") for kind in ("startup", "readiness", "liveness")]
            self.assertEqual(services, ["", "", "latentd.liveness"])
            grpc = next(port["containerPort"] for port in pod["ports"] if port["name"] == "grpc")
            for kind in ("startup", "readiness", "liveness"):
                self.assertEqual(pod[f"{kind}Probe"]["grpc"]["port"], grpc)

    def test_with_tls_probes_ask_the_metrics_port(self):
        """A kubelet's gRPC probes speak no TLS; docs/operating.md has the two paths."""
        pod = container("secure")
        for kind, path in (("startup", "/ready"), ("readiness", "/ready"), ("liveness", "/health")):
            probe = pod[f"{kind}Probe"]
            self.assertEqual(probe["httpGet"], {"port": "metrics", "path": path})
            self.assertNotIn("grpc", probe)
            self.assertEqual(probe["periodSeconds"], container("deployment")[f"{kind}Probe"]["periodSeconds"])
            self.assertIn(f"`{path}`", (ROOT / "docs/operating.md").read_text())
        self.assertNotIn("LATENTD_INSECURE", environment("secure"))
        for name in ("LATENTD_TLS_CERT", "LATENTD_TLS_KEY", "LATENTD_TOKENS"):
            folder = os.path.dirname(environment("secure")[name])
            self.assertIn(folder, [mount["mountPath"] for mount in pod["volumeMounts"]])

    def test_ports_are_those_of_the_image(self):
        exposed = re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.M)[1].split()
        for overlay in OVERLAYS:
            events = [value.rpartition(":")[2] for name, value in environment(overlay).items()
                      if name.startswith("LATENTD_KV_EVENTS")]
            ports = [str(port["containerPort"]) for port in container(overlay)["ports"]]
            self.assertEqual(sorted(ports), sorted([*exposed, *events]))
            self.assertEqual({str(port) for rule in one(overlay, "NetworkPolicy")["spec"]["ingress"]
                              for port in [each["port"] for each in rule["ports"]]}, set(ports))
            for name in ("latentd", "latentd-pods"):
                service = next(each for each in rendered(overlay)
                               if each["kind"] == "Service" and each["metadata"]["name"] == name)
                self.assertEqual(ports_of(service), [50051])

    def test_a_drain_has_time_to_end(self):
        for overlay in OVERLAYS:
            config = one(overlay, "ConfigMap")["data"]["latentd.toml"]
            drain = int(re.search(r"^drain-seconds = (\d+)$", config, re.M)[1])
            pause = int(container(overlay)["lifecycle"]["preStop"]["exec"]["command"][1])
            grace = workload(overlay)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            self.assertGreaterEqual(grace, pause + drain + 10)
            probe = container(overlay)["readinessProbe"]
            self.assertGreater(pause, probe["periodSeconds"] * probe["failureThreshold"])

    def test_the_daemon_takes_the_configuration(self):
        for overlay in OVERLAYS:
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder) / "latentd.toml"
                file.write_text(one(overlay, "ConfigMap")["data"]["latentd.toml"])
                variables = {**environment(overlay), "LATENTD_CONFIG": str(file)}
                image = dict(re.findall(r"(LATENTD_\w+)=(\S+)", re.search(r"^ENV (.*)$", DOCKERFILE, re.M)[1]))
                done = subprocess.run([BIN / "latentd", "--print-config"], capture_output=True, text=True, timeout=60,
                                      env={"PATH": os.environ["PATH"], **image, **variables})
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, r"(?m)^drain-seconds = 60 +# file")

    def test_pods_have_no_rights(self):
        for overlay in OVERLAYS:
            pod, one_container = workload(overlay)["spec"]["template"]["spec"], container(overlay)
            self.assertFalse(pod["automountServiceAccountToken"])
            context = pod["securityContext"]
            self.assertTrue(context["runAsNonRoot"])
            self.assertEqual(f"{context['runAsUser']}:{context['runAsGroup']}",
                             re.search(r"^USER (.*)$", DOCKERFILE, re.M)[1])
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertEqual(one_container["securityContext"], {"allowPrivilegeEscalation": False,
                                                                "readOnlyRootFilesystem": True,
                                                                "capabilities": {"drop": ["ALL"]}})
            self.assertEqual(one_container["resources"]["requests"], one_container["resources"]["limits"])
            self.assertNotIn("hostNetwork", pod)

    def test_selectors_find_the_pods(self):
        for overlay in OVERLAYS:
            labels = workload(overlay)["spec"]["template"]["metadata"]["labels"]
            selectors = [each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
                         for each in rendered(overlay)
                         if each["kind"] in ("Service", "PodDisruptionBudget", "InferencePool", "PodMonitor")]
            selectors.append(one(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
            selectors.append(workload(overlay)["spec"]["selector"]["matchLabels"])
            self.assertGreaterEqual(len(selectors), 5)
            for selector in selectors:
                self.assertLessEqual(selector.items(), labels.items())

    def test_each_mount_has_its_volume(self):
        for overlay in OVERLAYS:
            spec = workload(overlay)["spec"]
            volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
            volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
            self.assertEqual({mount["name"] for mount in container(overlay)["volumeMounts"]}, volumes)
            config = next(volume for volume in spec["template"]["spec"]["volumes"] if volume["name"] == "config")
            self.assertEqual(config["configMap"]["name"], one(overlay, "ConfigMap")["metadata"]["name"])

    def test_autoscaler_reads_the_metric_that_the_adapter_makes(self):
        metric = one("deployment", "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
        rule, = yaml.safe_load((KUBERNETES / "components/monitoring/adapter.yaml").read_text())
        self.assertEqual(rule["name"]["as"], metric)
        series = rule["seriesQuery"].split("{")[0]
        self.assertIn(f"| `{series}` | gauge |", (ROOT / "deploy/METRICS.md").read_text())

    def test_credentials_take_the_place_of_insecure(self):
        """But for the sockets of KV events, which know none."""
        self.assertEqual(environment("deployment")["LATENTD_INSECURE"], "on")
        self.assertIn("{name: LATENTD_INSECURE, $patch: delete}",
                      (KUBERNETES / "components/credentials/pod.yaml").read_text())
        self.assertEqual(environment("pool").get("LATENTD_INSECURE"),
                         "on" if "LATENTD_KV_EVENTS_LISTEN" in environment("pool") else None)
        folder, name = os.path.split(environment("pool")["LATENTD_TOKENS"])
        self.assertIn({"name": "credentials", "mountPath": folder, "readOnly": True}, container("pool")["volumeMounts"])
        self.assertEqual(name, "tokens")

    def test_the_operators_rules_are_prometheus_rules(self):
        program = KUBERNETES / "components/monitoring/make_rules.py"
        printed = subprocess.run([sys.executable, "-B", program], capture_output=True, text=True, timeout=60).stdout
        self.assertEqual(printed, program.with_name("rules.yaml").read_text(), f"run: {program} > rules.yaml")
        groups = [group for file in ("recording.yml", "alerts.yml")
                  for group in yaml.safe_load((ROOT / "deploy/prometheus/rules" / file).read_text())["groups"]]
        self.assertEqual(one("pool", "PrometheusRule")["spec"]["groups"], groups)


class PoolTest(unittest.TestCase):
    """InferencePool v1, whose schema no registry here has: its fields by the API's reference."""

    def test_has_the_fields_of_v1(self):
        pool = yaml.safe_load((KUBERNETES / "components/inference-pool/inference-pool.yaml").read_text())
        self.assertEqual(pool["apiVersion"], "inference.networking.k8s.io/v1")
        spec = pool["spec"]
        self.assertEqual(set(spec), {"selector", "targetPorts", "appProtocol", "endpointPickerRef"})
        self.assertEqual(set(spec["selector"]), {"matchLabels"})
        self.assertEqual(spec["targetPorts"], [{"number": 50051}])
        self.assertEqual(spec["appProtocol"], "kubernetes.io/h2c")
        self.assertEqual(set(spec["endpointPickerRef"]), {"name", "port", "failureMode"})
        self.assertIn(spec["endpointPickerRef"]["failureMode"], ("FailOpen", "FailClose"))


class ComposeTest(unittest.TestCase):
    def setUp(self):
        self.services = yaml.safe_load(COMPOSE.read_text())["services"]

    def test_each_file_that_it_mounts_exists(self):
        sources = [volume.split(":")[0] for service in self.services.values() for volume in service.get("volumes", [])]
        files = [source for source in sources if source.startswith(".")]
        self.assertGreaterEqual(len(files), 5)
        for file in files:
            self.assertTrue((COMPOSE.parent / file).exists(), file)

    def test_ports_are_published_on_loopback_alone(self):
        for name, service in self.services.items():
            self.assertTrue(all(port.startswith("127.0.0.1:") for port in service["ports"]), name)

    def test_prometheus_scrapes_the_daemon_and_grafana_asks_prometheus(self):
        targets, = yaml.safe_load((COMPOSE.parent / "targets.yml").read_text())
        self.assertEqual(targets["targets"], ["latentd:9090"])
        self.assertIn("latentd", self.services)
        self.assertEqual(self.services["grafana"]["environment"]["PROMETHEUS_URL"], "http://prometheus:9090")
        source, = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text()
                                 )["datasources"]
        self.assertEqual(source["url"], "${PROMETHEUS_URL}")
        provider, = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/latentd.yml").read_text()
                                   )["providers"]
        dashboards = [volume.split(":")[1] for volume in self.services["grafana"]["volumes"]
                      if "latentd.json" in volume]
        self.assertEqual([os.path.dirname(path) for path in dashboards], [provider["options"]["path"]])
        self.assertEqual(self.services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"],
                         dashboards[0])

    def test_the_image_is_the_one_that_is_built(self):
        version = re.search(r"^project\(.* VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]
        self.assertIn(f":-latentd:{version}-tiny-tales}}", self.services["latentd"]["image"])
        self.assertIn(f"newTag: {version}}}", (KUBERNETES / "components/server/kustomization.yaml").read_text())

    def test_a_drain_has_time_to_end(self):
        default = int(re.search(r"^\| `drain-seconds` \| (\d+)", (ROOT / "docs/operating.md").read_text(), re.M)[1])
        self.assertGreaterEqual(int(self.services["latentd"]["stop_grace_period"].rstrip("s")), default + 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Manifests, compose.yaml and the bill of materials against the published schemas, which packages of PyPI carry.

The packages are kept in build/schemas. Where they can't be had the test says so and is skipped (exit code 77).
"""
import copy
import json
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

import jsonschema
import yaml

import manifests
from manifests import OVERLAYS, ROOT, rendered

FOLDER = ROOT / "build/schemas"
PACKAGES = {"kubernetes_validate": "kubernetes-validate==1.37.0", "check_jsonschema": "check-jsonschema==0.39.0",
            "cyclonedx_python_lib": "cyclonedx-python-lib==11.12.0"}
# The oldest that has all fields in use, and the newest published.
VERSIONS = ("1.29.0", "1.37.0")
# Kinds of other projects: no package has their schemas. manifests_test.py holds them to what their references say.
FOREIGN = {"InferencePool", "PodMonitor", "PrometheusRule"}
PATIENCE_SECONDS = 120


def skip(why):
    print(f"SKIPPED schemas: {why}")
    sys.exit(77)


def obtain(name):
    """The package as pip's wheel, from an earlier run or from the registry."""
    if not list(FOLDER.glob(f"{name}-*.whl")):
        pip = shutil.which("pip3") or shutil.which("pip")
        if not pip:
            skip("expected pip on PATH, found none")
        command = [pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check",
                   "--retries", "1", "--timeout", "20", "--dest", FOLDER, PACKAGES[name]]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            skip(f"{PACKAGES[name]} did not arrive within {PATIENCE_SECONDS} s")
        if done.returncode != 0:
            skip(f"{PACKAGES[name]} can't be had: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return zipfile.ZipFile(next(FOLDER.glob(f"{name}-*.whl")))


class Kubernetes:
    """The strict schemas of one version: fields that it does not know are errors."""

    def __init__(self, wheel, version):
        self.wheel, self.folder = wheel, f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict"
        self.definitions = json.loads(wheel.read(f"{self.folder}/_definitions.json"))

    def errors(self, resource):
        group, _, version = resource["apiVersion"].rpartition("/")
        name = "-".join(part for part in (resource["kind"].lower(), group.split(".")[0], version) if part)
        schema = json.loads(self.wheel.read(f"{self.folder}/{name}.json"))
        resolver = jsonschema.RefResolver(f"{self.definitions['$id']}/../{name}", schema,
                                          store={self.definitions["$id"]: self.definitions})
        return [f"{'/'.join(map(str, error.path))}: {error.message}"
                for error in jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(resource)]


class CycloneDx:
    def __init__(self, wheel):
        schemas = [json.loads(wheel.read(f"cyclonedx/schema/_res/{name}.SNAPSHOT.schema.json"))
                   for name in ("bom-1.6", "spdx", "jsf-0.82")]
        resolver = jsonschema.RefResolver(schemas[0]["$id"], schemas[0], store={each["$id"]: each for each in schemas})
        self.validator = jsonschema.Draft7Validator(schemas[0], resolver=resolver)

    def errors(self, bill):
        return [error.message[:200] for error in self.validator.iter_errors(bill)]


class SchemasTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kubernetes = [Kubernetes(obtain("kubernetes_validate"), version) for version in VERSIONS]
        cls.compose = json.loads(obtain("check_jsonschema").read(
            "check_jsonschema/builtin_schemas/vendor/compose-spec.json"))
        cls.bills = CycloneDx(obtain("cyclonedx_python_lib"))

    def test_manifests_are_what_kubernetes_takes(self):
        kinds = set()
        for resource in [resource for overlay in OVERLAYS for resource in rendered(overlay)]:
            if resource["kind"] not in FOREIGN:
                kinds.add(resource["kind"])
                for schemas in self.kubernetes:
                    self.assertEqual(schemas.errors(resource), [], resource["kind"])
        self.assertEqual(kinds, {"Deployment", "StatefulSet", "HorizontalPodAutoscaler", "PodDisruptionBudget",
                                 "NetworkPolicy", "ServiceAccount", "Service", "ConfigMap"})

    def test_a_wrong_field_is_found(self):
        broken = copy.deepcopy(manifests.workload("deployment"))
        broken["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["grpc"]["prot"] = 1
        broken["spec"]["replicas"] = "two"
        for schemas in self.kubernetes:
            self.assertEqual(len(schemas.errors(broken)), 2)

    def test_compose_file_is_what_compose_takes(self):
        file = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())
        validator = jsonschema.validators.validator_for(self.compose)(self.compose)
        self.assertEqual([error.message for error in validator.iter_errors(file)], [])
        file["services"]["latentd"]["helthcheck"] = {}
        self.assertNotEqual(list(validator.iter_errors(file)), [])

    def test_bill_of_materials_is_what_cyclonedx_takes(self):
        """Made of this machine's packages, as the image's is of its own; image_test.py looks at that one."""
        script = ROOT / "scripts/sbom.sh"
        with tempfile.NamedTemporaryFile("w") as built_with:
            built_with.write("nlohmann-json3-dev\t3.11.2-2\tall\n")
            built_with.flush()
            printed = subprocess.run(["sh", script, "image", "0.1.0", "1796083200", built_with.name, script],
                                     capture_output=True, text=True, check=True, timeout=60).stdout
        bill = json.loads(printed)
        self.assertEqual(self.bills.errors(bill), [])
        self.assertEqual(bill["metadata"]["timestamp"], "2026-12-01T00:00:00Z")
        names = [component["bom-ref"] for component in bill["components"]]
        self.assertEqual(len(set(names)), len(names))
        self.assertIn("installed:dpkg:amd64", names)
        self.assertEqual(bill["components"][-1]["purl"],
                         "pkg:deb/debian/nlohmann-json3-dev@3.11.2-2?arch=all&distro=debian-12")
        bill["components"][0]["hashes"][0]["alg"] = "SHA-0"
        self.assertNotEqual(self.bills.errors(bill), [])


if __name__ == "__main__":
    if not manifests.renderer():
        skip("expected kubectl or kustomize on PATH, found neither")
    FOLDER.mkdir(parents=True, exist_ok=True)
    unittest.main(verbosity=2)

"""What tests of deploy/ share: manifests as kustomize renders them."""
import functools
import pathlib
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("deployment", "statefulset", "pool", "secure")
WORKLOADS = ("Deployment", "StatefulSet")


def renderer():
    """kubectl has kustomize in it; neither is in Debian 12. None where neither is there."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            return command
    return None


@functools.cache
def rendered(overlay):
    done = subprocess.run([*renderer(), str(KUBERNETES / overlay)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"{overlay}: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


def one(overlay, kind, name="latentd"):
    found = [each for each in rendered(overlay) if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
    assert len(found) == 1, f"{overlay}: {len(found)} of kind {kind}"
    return found[0]


def workload(overlay):
    return next(each for each in rendered(overlay) if each["kind"] in WORKLOADS)


def container(overlay):
    containers = workload(overlay)["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def environment(overlay):
    return {each["name"]: each["value"] for each in container(overlay)["env"]}

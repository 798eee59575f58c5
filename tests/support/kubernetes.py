"""Manifests: rendered by kubectl, and what must be true of each of them whatever it is for."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

Manifest = dict[str, Any]

KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent))

# Of the ServiceMonitor's definition what our manifests use; the Prometheus Operator's own schema is not at hand.
SERVICE_MONITOR = {
    "type": "object",
    "required": ["selector", "endpoints"],
    "additionalProperties": False,
    "properties": {
        "jobLabel": {"type": "string"},
        "selector": {
            "type": "object",
            "required": ["matchLabels"],
            "additionalProperties": False,
            "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
        "endpoints": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "port": {"type": "string"},
                    "path": {"type": "string"},
                    "interval": {"type": "string", "pattern": "^[0-9]+(s|m)$"},
                    "scrapeTimeout": {"type": "string", "pattern": "^[0-9]+(s|m)$"},
                },
            },
        },
    },
}


@cache
def rendered(folder: Path) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send."""
    assert KUBECTL is not None
    found = subprocess.run((KUBECTL, "kustomize", str(folder)), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return tuple(yaml.safe_load_all(found.stdout))


def only(manifests: tuple[Manifest, ...], kind: str, name: str = "k2alert") -> Manifest:
    (found,) = (one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


@dataclass(frozen=True)
class Pod:
    """What a rendered Deployment runs: one container, and what is mounted."""

    manifests: tuple[Manifest, ...]

    @property
    def _spec(self) -> Manifest:
        spec: Manifest = only(self.manifests, "Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def _container(self) -> Manifest:
        (container,) = self._spec["containers"]
        return cast(Manifest, container)

    @property
    def args(self) -> list[str]:
        return list(self._container["args"])

    @property
    def environ(self) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self._container["env"]}

    @property
    def volumes(self) -> list[str]:
        return [one["name"] for one in self._spec["volumes"]]

    @property
    def mounts(self) -> list[tuple[str, str, bool]]:
        """Each volume, where it is, and whether it is only read."""
        return [(one["name"], one["mountPath"], one.get("readOnly", False)) for one in self._container["volumeMounts"]]

    def probe(self, name: str) -> str:
        """The path that a probe asks."""
        return str(self._container[name]["httpGet"]["path"])

    def config_map(self, name: str) -> dict[str, str]:
        return dict(only(self.manifests, "ConfigMap", name)["data"])


def faults(workload: Manifest) -> list[str]:
    """What is wrong with a Deployment's pods by the restricted Pod Security Standard, and by our own customs."""
    pod = workload["spec"]["template"]["spec"]
    found = list(_faults_of_pod(pod))
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        found += (f"{container['name']}: {fault}" for fault in _faults_of_container(container))
    return found


def _faults_of_pod(pod: Manifest) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if pod.get("automountServiceAccountToken") is not False:
        yield "gets a token of Kubernetes"
    if pod.get("enableServiceLinks") is not False:
        yield "gets variables of other services"
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares a namespace with its node"
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected"}
    for volume in pod.get("volumes", ()):
        if not allowed & volume.keys():
            yield f"volume {volume['name']} is of a kind that is not allowed"


def _faults_of_container(container: Manifest) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain rights"
    if context.get("privileged"):
        yield "is privileged"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    for part in ("requests", "limits"):
        if container.get("resources", {}).get(part, {}).keys() != {"cpu", "memory"}:
            yield f"has no {part}"
    for probe in ("livenessProbe", "readinessProbe"):
        if "httpGet" not in container.get(probe, {}):
            yield f"has no {probe}"
    _, _, tag = container["image"].rpartition("/")[2].partition(":")
    if tag in ("", "latest"):
        yield "its image may be any"
    for mount in container.get("volumeMounts", ()):
        if "subPath" in mount:
            yield f"would not see a change of {mount['name']}"

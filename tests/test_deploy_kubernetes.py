"""deploy/kustomize: what it renders is valid for Kubernetes, safe, holds together, and k2alert takes its files."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
from click.testing import CliRunner

from k2alert.cli import main
from tests.support.kubernetes import KUBECTL, SERVICE_MONITOR, Manifest, faults, only, rendered

ROOT = Path(__file__).parents[1]
OVERLAYS = ROOT / "deploy/kustomize/overlays"
VERSIONS = ("1.30", "1.37")  # of Kubernetes: the oldest with all that we use, and the newest that we know
SECRETS = {
    "gitlab-token": "t-0",
    "slack-token": "xoxb-0",
    "admin-token": "a-0",
    "database-url": "postgresql://k2alert:p@db.test/k2alert",
}

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")


@pytest.fixture(params=["single", "ha"])
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    return rendered(OVERLAYS / request.param)


@pytest.fixture
def ha() -> tuple[Manifest, ...]:
    return rendered(OVERLAYS / "ha")


# --------------------------------------------------------------------------------------------- valid


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_what_kubernetes_asks_for(manifests: tuple[Manifest, ...], version: str) -> None:
    kinds = [one["kind"] for one in manifests if one["kind"] != "ServiceMonitor"]
    for manifest in manifests:
        if manifest["kind"] in kinds:
            kubernetes_validate.validate(manifest, version, strict=True)
    assert {"Namespace", "ServiceAccount", "ConfigMap", "Deployment", "Service", "NetworkPolicy"} <= set(kinds)


def test_a_key_that_kubernetes_does_not_know_would_be_seen(ha: tuple[Manifest, ...]) -> None:
    broken = copy.deepcopy(only(ha, "PodDisruptionBudget"))
    broken["spec"]["minAvailabel"] = broken["spec"].pop("minAvailable")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_the_service_monitor_uses_what_the_operator_knows(manifests: tuple[Manifest, ...]) -> None:
    jsonschema.validate(only(manifests, "ServiceMonitor")["spec"], SERVICE_MONITOR)


# ---------------------------------------------------------------------------------------------- safe


def test_pods_have_no_rights_that_they_do_not_need(manifests: tuple[Manifest, ...]) -> None:
    assert faults(only(manifests, "Deployment")) == []
    assert only(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    labels = only(manifests, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


SPOILED: list[tuple[str, Callable[[dict[str, Any], dict[str, Any]], object]]] = [
    ("gets a token of Kubernetes", lambda pod, box: pod.pop("automountServiceAccountToken")),
    ("gets variables of other services", lambda pod, box: pod.pop("enableServiceLinks")),
    ("shares a namespace with its node", lambda pod, box: pod.update(hostNetwork=True)),
    ("may run as root", lambda pod, box: pod["securityContext"].pop("runAsNonRoot")),
    ("has no seccomp profile", lambda pod, box: pod["securityContext"].pop("seccompProfile")),
    ("volume tmp is of a kind", lambda pod, box: pod["volumes"][-1].update(hostPath={}, emptyDir=None)),
    ("may gain rights", lambda pod, box: box["securityContext"].pop("allowPrivilegeEscalation")),
    ("is privileged", lambda pod, box: box["securityContext"].update(privileged=True)),
    ("may write to its root", lambda pod, box: box["securityContext"].pop("readOnlyRootFilesystem")),
    ("keeps capabilities", lambda pod, box: box["securityContext"].update(capabilities={"add": ["SYS_ADMIN"]})),
    ("has no limits", lambda pod, box: box["resources"].pop("limits")),
    ("has no readinessProbe", lambda pod, box: box.pop("readinessProbe")),
    ("its image may be any", lambda pod, box: box.update(image="registry.example.com:5000/k2alert")),
    ("would not see a change of config", lambda pod, box: box["volumeMounts"][0].update(subPath="k2alert.yml")),
]


@pytest.mark.parametrize(("fault", "spoil"), SPOILED, ids=[fault for fault, _ in SPOILED])
def test_each_fault_would_be_seen(
    ha: tuple[Manifest, ...], fault: str, spoil: Callable[[dict[str, Any], dict[str, Any]], object]
) -> None:
    workload = copy.deepcopy(only(ha, "Deployment"))
    pod = workload["spec"]["template"]["spec"]
    spoil(pod, pod["containers"][0])
    pod["volumes"] = [{key: value for key, value in one.items() if value is not None} for one in pod["volumes"]]
    (found,) = faults(workload)
    assert fault in found


# ------------------------------------------------------------------------------------ holds together


def test_everything_selects_the_pods_and_their_port(manifests: tuple[Manifest, ...]) -> None:
    template = only(manifests, "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    selectors = [
        only(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        only(manifests, "Service")["spec"]["selector"],
        only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in template["spec"].get("topologySpreadConstraints", ())),
        *(one["spec"]["selector"]["matchLabels"] for one in manifests if one["kind"] == "PodDisruptionBudget"),
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    service = only(manifests, "Service")
    watched = only(manifests, "ServiceMonitor")["spec"]
    assert watched["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    # By this label Prometheus names the job that rules and dashboard ask for.
    assert service["metadata"]["labels"][watched["jobLabel"]] == "k2alert"
    (container,) = template["spec"]["containers"]
    assert [port["name"] for port in container["ports"]] == [port["targetPort"] for port in service["spec"]["ports"]]
    assert [one["port"] for one in watched["endpoints"]] == [port["name"] for port in service["spec"]["ports"]]


def test_every_volume_is_there_and_every_mount_has_one(manifests: tuple[Manifest, ...]) -> None:
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    for volume in pod["volumes"]:
        if "configMap" in volume:
            only(manifests, "ConfigMap", volume["configMap"]["name"])
        if "persistentVolumeClaim" in volume:
            only(manifests, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


def test_one_process_ends_before_the_next_where_the_store_is_a_file() -> None:
    manifests = rendered(OVERLAYS / "single")
    spec = only(manifests, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    mounts = {one["mountPath"]: one["name"] for one in spec["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["/data"] == "data"


def test_two_replicas_are_never_both_away_at_once(ha: tuple[Manifest, ...]) -> None:
    spec = only(ha, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert only(ha, "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    assert 5432 in [port["port"] for rule in only(ha, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]


def test_the_command_of_the_pods_is_one_that_there_is(manifests: tuple[Manifest, ...]) -> None:
    (container,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    name, *words = container["args"]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    command.make_context(name, [*words])  # an unknown option or value is an error


def test_k2alert_takes_the_files_of_the_config_maps(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """They are laid out as the pod mounts them; only where that is differs."""
    for place, name in (("config", "k2alert"), ("own", "k2alert-rules")):
        (tmp_path / place).mkdir()
        for file, text in only(manifests, "ConfigMap", name)["data"].items():
            text = text.replace("/etc/k2alert/rules", str(ROOT / "rules"))
            text = text.replace("/etc/k2alert/own", str(tmp_path / "own"))
            (tmp_path / place / file).write_text(text.replace("/run/secrets/k2alert", str(tmp_path)))
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(text)
    checked = CliRunner().invoke(main, ["check", "--strict", str(tmp_path / "config/k2alert.yml")])
    assert checked.exit_code == 0, checked.output

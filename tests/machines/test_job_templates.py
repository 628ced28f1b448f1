"""The templates of Docker and Kubernetes work pools, held to Prefect's own classes and to Kubernetes' own types."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values

ROOT = Path(__file__).resolve().parents[2]
DOCKER, KUBERNETES = (ROOT / "docker" / f"{kind}-job-template.json" for kind in ("docker", "kubernetes"))
PREFECTS_OWN = {"parallelism", "completions"}  # its worker wants them in the pod's spec, where Kubernetes ignores them


def filled(config: Any, path: Path, **values: object) -> Any:
    """The job that a worker would make, with the template's defaults and these values."""
    template = json.loads(path.read_text())
    defaults = {name: variable["default"] for name, variable in template["variables"]["properties"].items()}
    given = {"name": "experiment", "command": "prefect flow-run execute", **values}
    return config(**apply_values(template["job_configuration"], defaults | given))


@pytest.mark.parametrize("path", [DOCKER, KUBERNETES], ids=["docker", "kubernetes"])
def test_every_variable_is_declared_described_and_used(path: Path) -> None:
    template = json.loads(path.read_text())
    variables = template["variables"]["properties"]
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(variables)
    assert all(v["description"] and v["title"] and "default" in v for v in variables.values())
    assert {"name", "command", "labels", "env", "image"} <= used, "what Prefect itself fills in"


def test_a_docker_job_mounts_the_workspace_and_takes_the_devices_asked_for() -> None:
    worker = pytest.importorskip("prefect_docker.worker", reason="the extra 'docker' is not installed")
    gpu = [{"count": 1, "capabilities": [["gpu"]]}]
    job = filled(worker.DockerWorkerJobConfiguration, DOCKER, image="gtr-turbo:cuda", device_requests=gpu)
    assert (job.image, job.volumes, job.env["GTR_HOME"]) == (
        "gtr-turbo:cuda",
        ["gtr-workspace:/workspace"],
        "/workspace",
    )
    from docker.types import HostConfig

    host = HostConfig(version="1.43", **job.container_create_kwargs)
    assert host["DeviceRequests"][0]["Capabilities"] == [["gpu"]] and host["ShmSize"] == 2 * 2**30
    plain = filled(worker.DockerWorkerJobConfiguration, DOCKER)
    assert HostConfig(version="1.43", **plain.container_create_kwargs)["DeviceRequests"] == []


def test_a_kubernetes_job_is_one_that_kubernetes_knows() -> None:
    worker = pytest.importorskip("prefect_kubernetes.worker", reason="the extra 'kubernetes' is not installed")
    from kubernetes_asyncio.client import models

    job = filled(worker.KubernetesWorkerJobConfiguration, KUBERNETES, gpus=2, memory="64Gi")
    job._populate_env_in_manifest()
    manifest = job.job_manifest
    assert unknown_fields(manifest, "V1Job", models) == []
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": 2}
    assert {"name": "GTR_HOME", "value": "/workspace"} in container["env"]
    volumes = {volume["name"] for volume in manifest["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert unknown_fields({"spec": {"template": {"spec": {"contaners": []}}}}, "V1Job", models) == [
        "spec.template.spec.contaners"
    ]


def unknown_fields(value: Any, kind: str, models: Any, where: str = "") -> list[str]:
    """The fields of a manifest that its Kubernetes type does not have."""
    inner = re.fullmatch(r"(?:list\[|dict\(str, )(\w+)[\])]", kind)
    if inner:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [name for key, item in items for name in unknown_fields(item, inner[1], models, f"{where}{key}.")]
    model = getattr(models, kind, None)
    if model is None:
        return []
    by_name = {name: model.openapi_types[field] for field, name in model.attribute_map.items()}
    found = []
    for name, item in value.items():
        if name in by_name:
            found += unknown_fields(item, by_name[name], models, f"{where}{name}.")
        elif name not in PREFECTS_OWN:
            found.append(where + name)
    return found


def test_the_image_passes_its_linter() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(ROOT / "docker" / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_leaves_the_command_to_the_work_pool() -> None:
    lines = (ROOT / "docker" / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if line.startswith("ENTRYPOINT")]


def test_every_deployment_of_prefect_yaml_has_an_entry_point_and_a_configuration_that_are_there() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {"local", "docker", "kubernetes"} <= {deployment["name"] for deployment in deployments}
    for deployment in deployments:
        file, name = deployment["entrypoint"].split(":")
        assert f"def {name}(" in (ROOT / file).read_text()
        assert (ROOT / deployment.get("parameters", {}).get("config", file)).is_file()
        pool, variables = deployment["work_pool"]["name"], deployment["work_pool"].get("job_variables", {})
        if variables:
            template = json.loads((ROOT / "docker" / f"{pool}-job-template.json").read_text())
            assert set(variables) <= set(template["variables"]["properties"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_prefects_server_takes_the_template(workspace_server: None, kind: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import PrefectHTTPStatusError

    template = json.loads((ROOT / "docker" / f"{kind}-job-template.json").read_text())
    with get_client(sync_client=True) as client:
        pool = client.create_work_pool(WorkPoolCreate(name=kind, type=kind, base_job_template=template))
        assert pool.base_job_template["job_configuration"] == template["job_configuration"]
        template["job_configuration"]["name"] = "{{ nobody }}"
        with pytest.raises(PrefectHTTPStatusError, match="nobody"):
            client.create_work_pool(WorkPoolCreate(name=f"bad-{kind}", type=kind, base_job_template=template))

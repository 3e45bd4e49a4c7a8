# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Campaigns with BPS: what the files in config/bps say, and what comes of it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch import INPUTS, PIPELINE, QUERY, assert_same_values, run, values_of
from networkx import DiGraph
from pilots import environment

from lsst.bgqa.standalone.demo import make_repository
from lsst.ctrl.bps import BPS_SEARCH_ORDER, BpsConfig
from lsst.ctrl.bps.quantum_clustering_funcs import check_clustering_config
from lsst.daf.butler import Butler, DimensionUniverse
from lsst.pipe.base import Pipeline

ROOT = Path(__file__).parents[1]
BPS = ROOT / "config" / "bps"
PAGE = ROOT / "doc" / "bps.md"
RESOURCE = "resource://lsst.bgqa/config/bps"
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml")) + sorted((ROOT / "pipelines").glob("[A-Z]*/*.yaml"))
MEASURED = json.loads((ROOT / "benchmarks" / "resources.json").read_text())


def load(text: str, folder: Path) -> BpsConfig:
    """Load a submit file as bps does, without its defaults."""
    file = folder / "submit.yaml"
    file.write_text(text)
    return BpsConfig(str(file), search_order=BPS_SEARCH_ORDER)


def include(*files: str) -> str:
    return "includeConfigs:\n" + "".join(f"  - {file}\n" for file in files)


@pytest.fixture
def bgqa(tmp_path: Path) -> BpsConfig:
    return load(include(f"{RESOURCE}/bgqa.yaml"), tmp_path)


def clusters_of(config: BpsConfig) -> dict[str, dict[str, Any]]:
    """Return the clusters by the label of their only task."""
    found: dict[str, dict[str, Any]] = {}
    for name in config["cluster"]:
        cluster = config["cluster"][name].toDict()
        assert cluster["pipetasks"] not in found, "bps refuses a task in two clusters"
        found[cluster["pipetasks"]] = {**cluster, "name": name}
    return found


@pytest.fixture(scope="module")
def labels() -> set[str]:
    return {label for file in PIPELINES for label in Pipeline.fromFile(str(file)).to_graph().tasks}


# --- What the files say ----------------------------------------------------


def test_every_task_has_resources_and_a_cluster(bgqa: BpsConfig, labels: set[str]) -> None:
    assert len(labels) >= 13
    assert set(bgqa["pipetask"]) - {"pipetaskInit"} == labels
    clusters = clusters_of(bgqa)
    assert clusters.keys() == labels
    for label in labels:
        assert bgqa["pipetask"][label]["requestMemory"] > 0
        assert clusters[label]["requestWalltime"] > 0


def test_resources_are_what_was_measured(bgqa: BpsConfig, labels: set[str]) -> None:
    assert MEASURED.keys() == labels
    clusters = clusters_of(bgqa)
    for label, row in MEASURED.items():
        peak = max(measured["peak"] for measured in row["measured"].values())
        seconds = max(measured["median"] for measured in row["measured"].values())
        memory = 256 * math.ceil((1.5 * peak + 512) / 256)
        job = row["job"]
        quantum = job["size"] * (4 * seconds + 0.1 * job["files"])
        minutes = 10 * math.ceil((1 + quantum * job["quanta"] / 60) / 10)
        assert bgqa["pipetask"][label]["requestMemory"] == memory == row["requestMemory"], label
        assert clusters[label]["requestWalltime"] == minutes == row["requestWalltime"], label


def test_clusters_have_dimensions_of_their_task(bgqa: BpsConfig) -> None:
    tasks = {
        label: task
        for file in PIPELINES
        for label, task in Pipeline.fromFile(str(file)).to_graph().tasks.items()
    }
    for label, cluster in clusters_of(bgqa).items():
        dimensions = DimensionUniverse().conform(tasks[label].get_connections().dimensions)
        names = re.split(r",\s*", cluster["dimensions"])
        assert set(names) <= set(dimensions.names), label
        if "partitionDimensions" in cluster:
            assert cluster["partitionDimensions"] in dimensions.names, label


@pytest.mark.parametrize(
    "file", PIPELINES, ids=lambda file: "-".join(file.relative_to(ROOT).with_suffix("").parts[1:])
)
def test_clusters_of_every_pipeline_wait_for_no_circle(file: Path, tmp_path: Path, bgqa: BpsConfig) -> None:
    graph = Pipeline.fromFile(str(file)).to_graph()
    # Without a registry, to know the storage classes of inputs from.
    tasks = DiGraph()
    tasks.add_nodes_from(task.key for task in graph.tasks.values())
    makers = {
        edge.parent_dataset_type_name: task.key
        for task in graph.tasks.values()
        for edge in task.outputs.values()
    }
    for task in graph.tasks.values():
        for edge in task.inputs.values():
            if edge.parent_dataset_type_name in makers:
                tasks.add_edge(makers[edge.parent_dataset_type_name], task.key)
    found, _ = check_clustering_config(bgqa["cluster"], tasks)
    assert len(found) == len(graph.tasks) and all(name.startswith("bgqa") for name in found)
    assert found.index("bgqaDetector") < found.index("bgqaGather")

    # A campaign takes a task into a cluster of its own.
    text = "cluster: {bgqaDetector: {pipetasks: none}, step1: {pipetasks: 'isr, backgroundQa'}}\n"
    own = load(include(f"{RESOURCE}/bgqa.yaml") + text, tmp_path)
    theirs, _ = check_clustering_config(own["cluster"], tasks)
    assert set(theirs) == set(found) - {"bgqaDetector"} | {"step1"}


def test_no_command_line_is_too_long(bgqa: BpsConfig) -> None:
    # MAX_ARG_STRLEN of Linux; a shell gets the whole command as one argument.
    limit, uuid, rest = 131_072, 37, 2_000
    for label, row in MEASURED.items():
        assert row["job"]["quanta"] * uuid + rest < limit, label
    sizes = {label: cluster.get("partitionMaxSize") for label, cluster in clusters_of(bgqa).items()}
    for label in ("backgroundQa", "preliminaryBackgroundQa", "skyCorrQa"):
        assert 189 * (sizes[label] or 0) == MEASURED[label]["job"]["quanta"]
    assert sizes["visitBackgroundQa"] == MEASURED["visitBackgroundQa"]["job"]["quanta"]
    assert sizes["stackBackgrounds"] == MEASURED["stackBackgrounds"]["job"]["quanta"]


def test_panda_counts_seconds(tmp_path: Path, bgqa: BpsConfig) -> None:
    panda = load(include(f"{RESOURCE}/panda_walltime.yaml"), tmp_path)
    minutes, seconds = clusters_of(bgqa), clusters_of(panda)
    assert minutes.keys() == seconds.keys()
    for label in minutes:
        assert seconds[label]["requestWalltime"] == 60 * minutes[label]["requestWalltime"]
        assert {**seconds[label], "requestWalltime": 0} == {**minutes[label], "requestWalltime": 0}


@pytest.mark.parametrize("name", ["bgqa", "parsl", "htcondor", "panda_walltime"])
def test_files_are_found_in_a_package_and_in_a_product(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BGQA_DIR", str(ROOT))
    # Nothing is taken from the folder in which bps happens to run.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bgqa.yaml").write_text("cluster: {mine: {pipetasks: mine}}\n")
    package = load(include(f"{RESOURCE}/{name}.yaml"), tmp_path)
    product = load(include(f"${{BGQA_DIR}}/config/bps/{name}.yaml"), tmp_path)
    assert package == product
    assert "mine" not in package["cluster"]


def test_campaign_that_includes_bgqa_keeps_its_own(tmp_path: Path) -> None:
    (tmp_path / "drp.yaml").write_text(
        "clusterAlgorithm: lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering\n"
        "cluster: {drpVisit: {pipetasks: 'calibrateImage', dimensions: 'visit,detector'}}\n"
        "pipetask: {calibrateImage: {requestMemory: 5000}}\n"
    )
    own = (
        include(str(tmp_path / "drp.yaml"), f"{RESOURCE}/bgqa.yaml")
        + "pipelineYaml: mine.yaml\n"
        + "requestMemory: 3000\n"
        + "payload: {payloadName: DRP}\n"
        + "pipetask: {coaddBackgroundQa: {requestMemory: 9999}}\n"
        + "cluster: {bgqaDetector: {partitionMaxSize: 2}}\n"
    )
    config = load(own, tmp_path)
    assert config["pipelineYaml"] == "mine.yaml"
    assert config["payloadName"] == "DRP"
    assert config["requestMemory"] == 3000
    assert config[".pipetask.calibrateImage.requestMemory"] == 5000
    assert config[".pipetask.coaddBackgroundQa.requestMemory"] == 9999
    assert config[".cluster.drpVisit.pipetasks"] == "calibrateImage"
    assert config[".cluster.bgqaDetector.partitionMaxSize"] == 2
    assert config[".cluster.bgqaDetector.pipetasks"] == "backgroundQa"
    # It changes nothing that is not about bgqa.
    bgqa = load(include(f"{RESOURCE}/bgqa.yaml"), tmp_path).toDict()
    assert {key for key, value in bgqa.items() if value} == {
        "pipelineYaml",
        "payload",
        "pipetask",
        "clusterAlgorithm",
        "cluster",
    }


def test_parsl_runs_here_and_on_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = pytest.importorskip("lsst.ctrl.bps.parsl").SiteConfig
    text = include(f"{RESOURCE}/parsl.yaml") + "operator: pilot\n"
    local = site.from_config(load(text, tmp_path))
    (executor,) = local.get_executors()
    assert executor.max_workers_per_node == 4

    monkeypatch.setenv("DAF_BUTLER_CONFIG_PATH", "/the/types")
    monkeypatch.setattr(site, "get_address", lambda self: "127.0.0.1")
    slurm = site.from_config(load(text + "computeSite: slurm\nsite: {slurm: {account: rubin}}\n", tmp_path))
    (executor,) = slurm.get_executors()
    provider = executor.provider
    assert (provider.nodes_per_block, provider.walltime, provider.account) == (1, "04:00:00", "rubin")
    # A worker for each core, and so much memory for each.
    assert 1024 * provider.mem_per_node / provider.cores_per_node > max(
        row["requestMemory"] for row in MEASURED.values()
    )
    assert "export DAF_BUTLER_CONFIG_PATH='/the/types'" in slurm.get_command_prefix()


def test_examples_of_the_documentation_are_right(bgqa: BpsConfig, tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 3
    for block in blocks:
        files = [
            file for file in yaml.safe_load(block).get("includeConfigs", []) if "DRP_PIPE_DIR" not in file
        ]
        own = re.sub(r"(?m)^includeConfigs:\n(?:  - .*\n)+", "", block)
        config = load((include(*files) if files else "") + own, tmp_path)
        if "cluster" in yaml.safe_load(block):
            names = {name for name in yaml.safe_load(block)["cluster"] if name.startswith("bgqa")}
            assert names <= set(bgqa["cluster"])
        assert not files or config["clusterAlgorithm"].endswith("dimension_clustering")


def test_documentation_has_what_was_measured() -> None:
    for label, row in MEASURED.items():
        match = re.search(rf"(?m)^\| `{label}` \|(.*)\|$", PAGE.read_text())
        assert match is not None, label
        _, seconds, peak, memory, _, minutes = (cell.strip() for cell in match[1].split("|"))
        assert float(seconds) == pytest.approx(
            max(measured["median"] for measured in row["measured"].values()), abs=0.006
        )
        assert float(peak) == pytest.approx(
            max(measured["peak"] for measured in row["measured"].values()), abs=0.6
        )
        assert (int(memory), int(minutes)) == (row["requestMemory"], row["requestWalltime"])


# --- What comes of them ----------------------------------------------------


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bps") / "repo"
    make_repository(folder)
    yield folder


EVERYTHING = f"{PIPELINE}#detector,visit,stack,coadd,tract,gather"
NIGHTS = "instrument='DemoCam' AND skymap='demo'"


def arguments(repo: Path, output: str, query: str = NIGHTS, pipeline: str = EVERYTHING) -> list[str]:
    return ["-b", str(repo), "-i", INPUTS, "-o", output, "-p", pipeline, "-d", query]


def submit_folder(folder: Path, output: str) -> Path:
    (made,) = (folder / "submit" / output).iterdir()
    return made


@pytest.mark.slow
def test_parsl_runs_a_campaign_to_its_end(repo: Path, tmp_path: Path) -> None:
    # Gather tasks are left out: they wait for jobs, here as in the direct run.
    log = run("bps", "submit", str(BPS / "parsl.yaml"), *arguments(repo, "u/bps", QUERY), folder=tmp_path)
    assert "Run Name: u_bps_" in log
    logs = submit_folder(tmp_path, "u/bps") / "logs"
    jobs = {path.stem for path in logs.rglob("*.stderr")}
    assert jobs == {
        "pipetaskInit",
        "bgqaDetector_DemoCam_20261009_001",
        "bgqaVisit_DemoCam_20261009_001",
        "bgqaStack_DemoCam_demo-r_001",
        "bgqaCoadd_demo_1",
        "bgqaTract_demo_1",
        "bgqaGather_DemoCam",
        "bgqaGatherVisit_DemoCam",
        "bgqaGatherCoadd_demo",
        "bgqaGatherTract_demo",
        "finalJob",
    }
    run("pipetask", "run", *arguments(repo, "direct", QUERY), "--register-dataset-types")
    submitted = values_of(repo, "u/bps")
    # Metrics of 9 detectors, their stacks, 9 patches, a visit and a tract; two
    # tables of the visit and of the tract, three of each campaign.
    assert len(submitted) == 9 + 9 + 9 + 1 + 1 + 2 + 2 + 4 * 3
    assert_same_values(submitted, values_of(repo, "direct"))
    with Butler.from_config(str(repo)) as butler:
        (first, *rest) = butler.collections.get_info("u/bps").children
        assert re.fullmatch(r"u/bps/\d{8}T\d{6}Z", first) and rest == [INPUTS]


@pytest.mark.slow
def test_parsl_run_is_restarted(repo: Path, tmp_path: Path) -> None:
    with Butler.from_config(str(repo)) as butler:
        ref = butler.find_dataset(
            "calexpBackground", instrument="DemoCam", visit=2026101800001, detector=4, collections=INPUTS
        )
        assert ref is not None
        file = Path(butler.getURI(ref).ospath)
    hidden = file.rename(file.with_suffix(".hidden"))
    query = "instrument='DemoCam' AND band='r' AND day_obs IN (20261009, 20261018)"
    try:
        run(
            *("bps", "submit", str(BPS / "parsl.yaml")),
            *arguments(repo, "u/restarted", query, f"{PIPELINE}#detector"),
            folder=tmp_path,
        )
    finally:
        hidden.rename(file)
    # One detector failed, and with it its job; the others are there.
    assert len(values_of(repo, "u/restarted")) == 17
    made = submit_folder(tmp_path, "u/restarted")
    run(
        "bps",
        "restart",
        "--wms-service-class",
        "lsst.ctrl.bps.parsl.ParslService",
        "--id",
        str(made),
        folder=tmp_path,
    )
    assert len(values_of(repo, "u/restarted")) == 18


# A campaign's own settings, on top of a file of config/bps: a job per visit.
OVERRIDES = "cluster: {bgqaDetector: {partitionMaxSize: 1}}\n"
JOBS = {
    "bgqaDetector": 6,
    "bgqaVisit": 3,
    "bgqaStack": 2,
    "bgqaCoadd": 1,
    "bgqaTract": 1,
    "bgqaGather": 1,
    "bgqaGatherVisit": 1,
    "bgqaGatherCoadd": 1,
    "bgqaGatherTract": 1,
}
# Bundles are gathered with what the tables of their visits or tracts say.
PARENTS = {
    "bgqaGather": {"bgqaDetector", "bgqaVisit"},
    "bgqaGatherVisit": {"bgqaVisit"},
    "bgqaGatherCoadd": {"bgqaCoadd", "bgqaTract"},
    "bgqaGatherTract": {"bgqaTract"},
}


@pytest.mark.slow
def test_htcondor_gets_jobs_with_resources(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("htcondor2", reason="HTCondor's Python bindings are not installed")
    file = tmp_path / "campaign.yaml"
    file.write_text(include(f"{RESOURCE}/htcondor.yaml") + OVERRIDES)
    log = run(
        *("bps", "prepare", str(file), *arguments(repo, "u/condor")),
        folder=tmp_path,
        HOME=str(tmp_path),
        CTRL_EXECUTE_DIR="/ctrl_execute",
        USER="pilot",
    )
    assert "Prepare stage completed" in log
    made = submit_folder(tmp_path, "u/condor")
    (dag,) = made.glob("*.dag")
    lines = dag.read_text().splitlines()
    jobs = [match[1] for line in lines if (match := re.match(r"JOB (\S+)", line))]
    assert count(jobs) == {**JOBS, "pipetaskInit": 1}
    children = [line.split()[1::2] for line in lines if line.startswith("PARENT")]
    for child, parents in PARENTS.items():
        assert {count_name(first) for first, second in children if count_name(second) == child} == parents
    assert any(line.startswith("FINAL finalJob") for line in lines)
    assert any(line.startswith("SERVICE provisioningJob") for line in lines)
    assert re.search(r"--maximum-wall-clock '?04:00:00'? ", (made / "provisioningJob.bash").read_text())

    config = BpsConfig(str(file), search_order=BPS_SEARCH_ORDER)
    tasks = {cluster["name"]: label for label, cluster in clusters_of(config).items()}
    for job in jobs:
        (path,) = made.rglob(f"{job}.sub")
        commands = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        if job == "pipetaskInit":
            assert "pre-exec-init-qbb" in commands["arguments"]
            continue
        memory = config[f".pipetask.{tasks[count_name(job)]}.requestMemory"]
        assert re.search(rf"min\(\{{max\(\{{{memory}, MemoryUsage", commands["request_memory"])
        assert commands["request_cpus"] == "1"
        assert commands["getenv"] == "True", "DAF_BUTLER_CONFIG_PATH goes with the job"
        assert commands["executable"] == shutil.which("pipetask", path=environment()["PATH"])
        match = re.search(r"run-qbb \S+ \S+\.qg --qgraph-node-id (\S+?)[\s\"]", commands["arguments"])
        assert match is not None
        # A job per night and visit: the detectors of one.
        if count_name(job) == "bgqaDetector":
            assert match[1].count(",") + 1 == 9
    (final,) = made.rglob("finalJob.sub")
    assert "request_cpus=4\n" in final.read_text()
    assert "aggregate-graph" in (made / "final_job.bash").read_text()


def count_name(job: str) -> str:
    return job.partition("_")[0]


def count(jobs: list[str]) -> dict[str, int]:
    names = [count_name(job) for job in jobs]
    return {name: names.count(name) for name in set(names)}


@pytest.mark.slow
def test_panda_gets_tasks_with_resources(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("idds", reason="the PanDA plugin is not installed")
    # What the plugin's own file says of a site; only EUPS installs that.
    site = tmp_path / "plugin" / "config" / "bps_usdf.yaml"
    site.parent.mkdir(parents=True)
    site.write_text(
        yaml.safe_dump(
            {
                "wmsServiceClass": "lsst.ctrl.bps.panda.PanDAService",
                "project": "dev",
                "computeCloud": "US",
                "computeSite": "SLAC",
                "placeholderParams": ["qgraphNodeId", "qgraphId"],
                "fileDistributionEndPoint": f"{tmp_path}/space/{{uniqProcName}}/",
                "payload": {"butlerConfig": "/repo/main"},
                "runnerCommand": "source /stack/{LSST_VERSION}/load; decode _cmd_line_",
            }
        )
    )
    file = tmp_path / "campaign.yaml"
    file.write_text(include(f"{RESOURCE}/panda.yaml") + OVERRIDES)
    variables = {
        "CTRL_BPS_PANDA_DIR": str(tmp_path / "plugin"),
        "LSST_VERSION": "w_2026_40",
        # The client looks for its servers when it is imported, but for this.
        "PANDA_BEHIND_REAL_LB": "true",
        "PANDA_URL": "https://localhost:9/server/panda",
        "PANDA_URL_SSL": "https://localhost:9/server/panda",
        "PANDA_CONFIG_ROOT": str(tmp_path),
        "USER": "pilot",
        "HOME": str(tmp_path),
    }
    # The command itself asks the server whether it is there, and stops.
    log = run(
        "bps", "prepare", str(file), *arguments(repo, "u/stopped"), folder=tmp_path, check=False, **variables
    )
    assert "Error ping PanDA service" in log and not (tmp_path / "submit").exists()

    script = (
        "import sys\n"
        "from lsst.ctrl.bps.drivers import prepare_driver\n"
        "file, repo, inputs, output, pipeline, query = sys.argv[1:]\n"
        "prepare_driver(file, runWmsSubmissionChecks=False, butler_config=repo, input=[inputs],"
        " output=output, pipeline=pipeline, data_query=query)\n"
    )
    values = arguments(repo, "u/panda")[1::2]
    run(sys.executable, "-c", script, str(file), *values, folder=tmp_path, **variables)
    made = submit_folder(tmp_path, "u/panda")
    works = read_panda(made / "panda_workflow.pickle", variables)
    assert works.keys() == {*JOBS, "pipetaskInit", "finalJob"}
    config = BpsConfig(str(BPS / "bgqa.yaml"), search_order=BPS_SEARCH_ORDER)
    tasks = {cluster["name"]: (label, cluster) for label, cluster in clusters_of(config).items()}
    for name, number in JOBS.items():
        label, cluster = tasks[name]
        work = works[name]
        assert work["task_rss"] == config[f".pipetask.{label}.requestMemory"]
        assert work["maxWalltime"] == 60 * cluster["requestWalltime"]
        assert (work["task_site"], work["task_cloud"], work["core_count"]) == ("SLAC", "US", 1)
        assert len(work["jobs"]) == number
        if name in PARENTS:
            assert work["parents"] == PARENTS[name]
        assert work["command"].startswith("pipetask ") and " run-qbb " in work["command"]
        assert "source /stack/w_2026_40/load; decode " in work["executable"]
    assert {job.count(",") + 1 for job in works["bgqaDetector"]["jobs"]} == {9}
    assert works["finalJob"]["core_count"] == 4


def read_panda(file: Path, variables: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Read the workflow in a process of its own: the client reads variables
    when it is imported.
    """
    script = (
        "import json, pickle, re, sys\n"
        "workflow = pickle.load(open(sys.argv[1], 'rb'))\n"
        "works = {}\n"
        "for work in workflow.idds_client_workflow.template._works.values():\n"
        "    name = re.fullmatch(r'.*_\\d+_(\\w+?)_\\d+', work.task_name)[1]\n"
        "    jobs = [job if isinstance(job, dict) else vars(job) for job in work.dependency_map]\n"
        "    parents = {re.fullmatch(r'.*_\\d+_(\\w+?)_\\d+', d['task'])[1]"
        " for job in jobs for d in job['dependencies']}\n"
        "    encoded = max(re.findall(r'[0-9a-f]{40,}', work.executable), key=len)\n"
        "    works[name] = {key: getattr(work, key) for key in"
        " ('task_rss', 'maxWalltime', 'task_site', 'task_cloud', 'core_count', 'executable')}\n"
        "    works[name] |= {'jobs': [job['name'] for job in jobs], 'parents': sorted(parents),"
        " 'command': bytes.fromhex(encoded).decode()}\n"
        "print('\\n' + json.dumps(works))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    works = json.loads(done.stdout.splitlines()[-1])
    for work in works.values():
        work["parents"] = set(work["parents"]) - {"pipetaskInit"}
    return works

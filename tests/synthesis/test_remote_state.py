import hashlib
import io
import json
from dataclasses import replace

import pytest
import storage_elsewhere
from tqdm import tqdm

from synthcxr.data import load_pairs
from synthcxr.data.dataset_folder import ShardPlan, read_manifest
from synthcxr.data.shards import ShardRecord
from synthcxr.synthesis import synthesize_pairs
from synthcxr.synthesis.generators import component_files
from synthcxr.synthesis.remote_state import RemoteState
from synthcxr.synthesis.requests import StoredRequests
from synthcxr.synthesis.sampling import SamplingSettings


SETTINGS = SamplingSettings("folder", "a@1", 2, 1, 1.0, "float32", "cpu", compile_unet=False)


@pytest.fixture
def state(tmp_path):
    """What is to be done, in the folder of a dataset."""
    folder = tmp_path / "state"
    for name, text in (("tasks/00000.json", "{}"), ("tasks/00000.jsonl", "{}\n"), ("completions/00001", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def plans(tmp_path):
    """Two shards, one of which is to be made."""
    for index in range(2):
        (tmp_path / f"{index}.jsonl").write_text("{}\n")
    return [ShardPlan("train", index, 2, StoredRequests(tmp_path / f"{index}.jsonl", 1)) for index in range(2)]


@pytest.fixture
def storage(tmp_path):
    storage_elsewhere.register()
    return f"elsewhere://{tmp_path}/storage"


def shard(folder):
    """A shard's file and its record."""
    (folder / "data").mkdir(parents=True)
    data = b"rows" * 100
    (folder / "data" / "train-00000-of-00001.parquet").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return ShardRecord("data/train-00000-of-00001.parquet", "train", 3, len(data), 9, digest)


def test_a_run_goes_on_in_its_own_folder_of_the_storage(plans, storage):
    first = RemoteState.of_run(storage, plans, SETTINGS).url
    assert first == RemoteState.of_run(f"{storage}/", plans, replace(SETTINGS, generator="elsewhere")).url
    assert first != RemoteState.of_run(storage, plans, replace(SETTINGS, source="a@2")).url
    plans[0].items.path.write_text("{} \n")
    assert first != RemoteState.of_run(storage, plans, SETTINGS).url


def test_a_worker_gets_its_task_and_the_generator(state, plans, storage, generator_folder, tmp_path):
    remote = RemoteState.of_run(storage, plans, SETTINGS)
    sent = remote.send_run(state, replace(SETTINGS, generator=str(generator_folder)), generator=str(generator_folder))
    assert sent.generator == ""
    assert remote.names("completions") == ["00001"]
    settings = RemoteState(remote.url).fetch_task(0, tmp_path / "worker", sent)
    assert (tmp_path / "worker" / "tasks" / "00000.jsonl").read_text() == "{}\n"
    names = [path.relative_to(generator_folder) for path in component_files(generator_folder)]
    assert names == [path.relative_to(settings.generator) for path in component_files(tmp_path / "worker/generator")]


def test_a_generator_that_every_worker_finds_is_not_sent(state, plans, storage, tmp_path):
    remote = RemoteState.of_run(storage, plans, SETTINGS)
    assert remote.send_run(state, SETTINGS, generator="somebody/roentgen").generator == "somebody/roentgen"
    assert remote.names("generator") == []


def test_another_revision_of_the_generator_is_refused(state, plans, storage, generator_folder, tmp_path):
    remote = RemoteState.of_run(storage, plans, SETTINGS)
    remote.send_run(state, SETTINGS, generator="somebody/roentgen")
    with pytest.raises(ValueError, match="the run is of a@1"):
        remote.fetch_task(0, tmp_path / "worker", replace(SETTINGS, generator=str(generator_folder)))


def test_shards_come_home_whole_or_not_at_all(storage, tmp_path):
    remote = RemoteState(f"{storage}/run")
    record = shard(tmp_path / "worker")
    remote.send_shard(0, tmp_path / "worker", record)
    remote.fetch_shards(tmp_path / "pairs", [0, 1])
    assert record.matches(tmp_path / "pairs")

    remote.send_shard(0, tmp_path / "worker", replace(record, sha256="0" * 64))
    with pytest.raises(OSError, match=r"train-00000-of-00001\.parquet arrived damaged"):
        remote.fetch_shards(tmp_path / "other", [0])
    assert not any((tmp_path / "other").rglob("*.parquet"))


def test_a_bar_counts_the_images_of_shards_that_are_made(storage, tmp_path):
    remote = RemoteState(f"{storage}/run")
    remote.send_shard(1, tmp_path / "worker", shard(tmp_path / "worker"))
    bar = tqdm(total=9, initial=2, file=io.StringIO())
    with remote.shown({0: 4, 1: 3}, bar):
        assert bar.n == 2
    assert bar.n == 5


def test_jobs_of_the_hub_draw_what_this_machine_draws(storage, generator_folder, tmp_path, monkeypatch):
    """With a stand-in for the Hub: what is submitted runs here, in a process that sees only the storage."""
    jobs = storage_elsewhere.JobsHere(fail={"0"})
    monkeypatch.setattr("huggingface_hub.run_uv_job", jobs.run_uv_job)
    monkeypatch.setattr("huggingface_hub.inspect_job", jobs.inspect_job)
    texts = ["Large left pleural effusion.", "Normal.", "___", "No nodule."]
    reports = tmp_path / "reports.jsonl"
    rows = [{"impression": text, "id": f"r-{number}", "origin": "simulated"} for number, text in enumerate(texts)]
    reports.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"generator": generator_folder, "shard_size": 2, "batch_size": 2, "progress": False}
    settings = {"storage": storage, "poll_interval": 0, "tasks_per_job": 2}
    monkeypatch.setattr("synthcxr.synthesis.executors.get_token", lambda: None)
    with pytest.raises(ValueError, match="needs a token of the Hub: hf auth login"):
        synthesize_pairs(reports, tmp_path / "there", executor="jobs", executor_settings=settings, **options)
    for place in ("huggingface_hub", "synthcxr.synthesis.executors"):
        monkeypatch.setattr(f"{place}.get_token", lambda: "hf_none")

    here = synthesize_pairs(reports, tmp_path / "here", workers=1, **options)
    there = synthesize_pairs(
        reports, tmp_path / "there", executor="jobs", executor_settings=settings, workers=1, **options
    )
    assert read_manifest(there) == read_manifest(here)
    assert load_pairs(there, split="train")["id"] == load_pairs(here, split="train")["id"]
    assert len(jobs.submitted) == 2, "the job that ended in an error is submitted again"
    assert jobs.submitted[0]["dependencies"][0].startswith("synthcxr==")
    assert "hf_none" not in "".join(path.read_text() for path in tmp_path.rglob("storage/**/*.json"))

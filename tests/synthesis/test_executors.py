import json
import os
import stat

import pytest

from synthcxr.synthesis.executors import check_executor_settings, is_at_work


def test_settings_of_an_executor_are_checked_before_anything_is_done():
    check_executor_settings("local", {"randomize_start_duration": 1})
    check_executor_settings("slurm", {"partition": "gpu", "time": "01:00:00", "gpus_per_task": 1})
    with pytest.raises(ValueError, match="executor is 'spark'; expected one of local, ray, slurm, jobs"):
        check_executor_settings("spark", {})
    with pytest.raises(ValueError, match="has 'cpus', which ray does not take; perhaps 'cpus_per_task'"):
        check_executor_settings("ray", {"cpus": 1})
    with pytest.raises(ValueError, match="lacks 'time', which slurm needs"):
        check_executor_settings("slurm", {"partition": "gpu"})
    check_executor_settings("jobs", {"storage": "hf://buckets/somebody/pairs", "flavor": "a10g-small"})
    with pytest.raises(ValueError, match="lacks 'storage', which jobs needs"):
        check_executor_settings("jobs", {"flavor": "a10g-small"})
    with pytest.raises(ValueError, match="storage is '/tmp/x'; expected a folder like hf://"):
        check_executor_settings("jobs", {"storage": "/tmp/x"})


@pytest.mark.parametrize("ours", ["tasks", "workers", "logging_dir", "pipeline", "depends"])
def test_what_is_decided_here_cannot_be_set(ours):
    with pytest.raises(ValueError, match=f"has '{ours}', which local does not take"):
        check_executor_settings("local", {ours: 1})


def test_slurm_is_asked_whether_jobs_are_still_at_work(tmp_path, monkeypatch):
    assert not is_at_work(tmp_path)
    (tmp_path / "submitted.json").write_text(json.dumps({"job_id": "17"}))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ValueError, match="Slurm has job 17 for .* there is no squeue here"):
        is_at_work(tmp_path)
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    for answer, expected in (("echo 17_[0-3] gpu synthesize", True), ("true", False), ("echo Invalid; exit 1", False)):
        squeue.write_text(f'#!/bin/sh\ntest "$*" = "--noheader --jobs 17" || exit 2\n{answer}\n')
        os.chmod(squeue, stat.S_IRWXU)
        assert is_at_work(tmp_path) is expected

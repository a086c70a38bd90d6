"""A storage that is no folder of this machine as far as fsspec knows, and Jobs of the Hub that run here."""

import os
import subprocess
import sys
from types import SimpleNamespace

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import LocalFileSystem


class ElsewhereFileSystem(ArrowFSWrapper):
    """`elsewhere:///folder` is `/folder`."""

    protocol = "elsewhere"

    def __init__(self, **kwargs):
        super().__init__(fs=LocalFileSystem(), **kwargs)


def register():
    fsspec.register_implementation("elsewhere", ElsewhereFileSystem, clobber=True)


class JobsHere:
    """
    Runs what is submitted at once, in a process of its own that knows the storage and nothing else of the caller.

    Args:
        fail (`set[str]`): Array indices whose first job ends without having done anything.
    """

    def __init__(self, fail=()):
        self.stages, self.submitted, self.fail = {}, [], set(fail)

    def run_uv_job(self, script, *, script_args, env, **settings):
        number = str(len(self.submitted))
        self.submitted.append(settings)
        index = env["DATATROVE_JOB_ARRAY_INDEX"]
        if index in self.fail:
            self.fail.remove(index)
            self.stages[number] = "ERROR"
        else:
            start = "import runpy, sys, storage_elsewhere; storage_elsewhere.register(); "
            start += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
            environment = os.environ | env | {"PYTHONPATH": os.path.dirname(__file__)}
            done = subprocess.run(
                [sys.executable, "-c", start, script, *script_args], env=environment, capture_output=True, check=False
            )
            self.stages[number] = "ERROR" if done.returncode else "COMPLETED"
        return SimpleNamespace(id=number, url="nowhere")

    def inspect_job(self, job_id, **_):
        return SimpleNamespace(status=SimpleNamespace(stage=self.stages[job_id]))

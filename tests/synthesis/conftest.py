"""Fixtures of the tests of synthesis: a tiny generator, saved once."""

import json

import pytest
from tiny_generators import tiny_flow_pipeline


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory):
    """A checkpoint of ours with random weights."""
    folder = tmp_path_factory.mktemp("generators") / "tiny-generator"
    tiny_flow_pipeline(default_num_inference_steps=2, default_guidance_scale=2.0).save_pretrained(folder)
    return folder


@pytest.fixture
def write_jsonl(tmp_path):
    """Writes rows to a JSONL file."""

    def write(rows, name="reports.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write

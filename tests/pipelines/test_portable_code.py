from synthcxr.pipelines import CxrSynthesisPipeline


def test_a_saved_pipeline_does_not_say_where_it_was_loaded_from(flow_pipeline, tmp_path):
    flow_pipeline.save_pretrained(tmp_path / "first")
    CxrSynthesisPipeline.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    for path in (tmp_path / "second").rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path
    parts = ("unet/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json")
    for name in ("model_index.json", *parts):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes(), name

"""The demo's Space: its functions, its endpoint and, where there is a browser, its page."""

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard
from PIL import Image

from synthcxr.hub import render_model_card


SPACE = Path(__file__).resolve().parents[2] / "spaces" / "synthcxr-demo"


@pytest.fixture(scope="module")
def app():
    spec = importlib.util.spec_from_file_location("synthcxr_demo_app", SPACE / "app.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reader(app, checkpoint):
    return app.Reader(str(checkpoint))


@pytest.fixture(scope="module")
def examples(app, tmp_path_factory):
    return app.example_studies(tmp_path_factory.mktemp("examples"), "absent")


@pytest.fixture(scope="module")
def address(app, reader, examples):
    demo = app.build_demo(reader, examples)
    _, address, _ = app.serve(
        demo, allowed_paths=[str(Path(examples[0][0]).parent)], prevent_thread_lock=True, quiet=True
    )
    yield address
    demo.close()


@pytest.fixture
def radiograph(tmp_path):
    path = tmp_path / "study.png"
    Image.fromarray(np.linspace(0, 255, 80 * 120).reshape(120, 80).astype(np.uint8)).save(path)
    return str(path)


def test_front_matter_is_what_a_space_needs():
    data = SpaceCard.load(SPACE / "README.md").data
    assert (data.sdk, data.app_file, data.license) == ("gradio", "app.py", "apache-2.0")
    assert data.sdk_version == gr.__version__
    assert str(data.python_version) == "3.11"
    assert len(data.short_description) <= 60
    assert data.models is None, "a model that is named must exist on the Hub"
    assert "Not for clinical use" in SpaceCard.load(SPACE / "README.md").text


def test_every_finding_gets_a_score_and_a_map_of_the_images_size(app, reader):
    lines = reader.read(Image.new("L", (80, 120), 90), list(app.FINDINGS), "A phrase of mine.")
    assert [line.name for line in lines][-1] == "A phrase of mine."
    assert len(lines) == len(app.FINDINGS) + 1
    assert all(0 < line.score < 1 and line.heat.shape == (120, 80) for line in lines)


def test_a_score_does_not_depend_on_what_else_is_asked(app, reader):
    image = Image.new("L", (80, 120), 90)
    alone = reader.read(image, ["edema"])[0]
    among = reader.read(image, ["pneumothorax", "edema", "cavity"])[1]
    assert alone.score == pytest.approx(among.score, abs=1e-5)
    np.testing.assert_allclose(alone.heat, among.heat, atol=1e-5)


def test_a_map_lies_where_the_processor_put_the_image(app, reader):
    """A wide image is padded above and below: the hot row of the model's square is cut to the image's own rows."""
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[2:] = 1
    on_image = reader._on_image(heat, (120, 60))
    assert on_image.shape == (60, 120)
    assert on_image[:10].mean() < 0.3
    assert on_image[-10:].mean() > 0.7


def test_the_overlay_is_hot_where_the_map_is_and_clear_elsewhere(app):
    heat = np.zeros((10, 10), dtype=np.float32)
    heat[0, 0] = 1
    image = Image.new("L", (10, 10), 40)
    drawn = np.asarray(app.overlay(image, heat, 0.8))
    assert drawn[0, 0, 0] > 200
    assert (drawn[5, 5] == 40).all()
    assert (np.asarray(app.overlay(image, None, 0.8)) == 40).all()


def test_a_nearly_flat_map_stays_faint(app):
    heat = np.zeros((10, 10), dtype=np.float32)
    heat[0, 0] = 0.01
    assert np.asarray(app.overlay(Image.new("L", (10, 10), 40), heat, 1.0), dtype=int).max() < 50
    assert (np.asarray(app.overlay(Image.new("L", (10, 10), 40), np.ones((10, 10)), 1.0)) == 40).all()


def test_a_phrase_with_markup_is_shown_as_it_is(app):
    table = app.score_table([app.Line("<b>x</b>", "w", 0.5, np.zeros((1, 1)))])
    assert "&lt;b&gt;x&lt;/b&gt;" in table
    assert "not probabilities" in table


def test_the_card_is_shown_without_metadata_and_figures(app, checkpoint):
    text = app._card_text(str(render_model_card(checkpoint)))
    assert text.strip().startswith("# ConVIRT")
    assert "Not for clinical use" in text
    assert "## Limitations" in text
    assert "figures/" not in text


def test_examples_are_simulated_at_start_up_or_come_with_the_checkpoint(app, examples, tmp_path):
    assert len(examples) == len(app.EXAMPLE_FINDINGS)
    assert all(Image.open(path).mode == "L" for path, _ in examples)
    (tmp_path / "examples").mkdir()
    shutil.copy(examples[0][0], tmp_path / "examples" / "right_pleural_effusion.png")
    shipped = app.example_studies(tmp_path, str(tmp_path))
    assert [caption for _, caption in shipped] == ["right pleural effusion"]


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n truncated", b"<svg onload=alert(1)>"])
def test_a_file_that_is_no_radiograph_is_answered_in_words(app, tmp_path, content):
    path = tmp_path / "a<b>.png"
    path.write_bytes(content)
    with pytest.raises(gr.Error, match="a&lt;b&gt;.png"):
        app.open_radiograph(str(path))


def test_an_image_that_is_too_large_or_too_small_is_answered_in_words(app, tmp_path):
    for size, words in (((9000, 9000), "megapixels"), ((1, 1), "no radiograph")):
        path = tmp_path / "image.png"
        Image.new("L", size).save(path)
        with pytest.raises(gr.Error, match=words):
            app.open_radiograph(str(path))


def test_a_sixteen_bit_image_is_shown_in_eight(app, tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)).save(path)
    image = app.open_radiograph(str(path))
    assert (image.mode, image.getextrema()) == ("L", (0, 255))


def test_a_dicom_file_is_read(app, shared_data):
    path = next(path for path in sorted((shared_data / "dicom").glob("*.dcm")) if "siim" in path.name)
    assert max(app.open_radiograph(str(path)).size) <= app.DISPLAY_SIZE


def test_no_image_and_no_words_are_answered_in_words(app, reader, radiograph):
    with pytest.raises(gr.Error, match="Drop a radiograph"):
        app.read_study(reader, None, ["edema"], [], "")
    with pytest.raises(gr.Error, match="Choose a finding or type a phrase"):
        app.read_study(reader, radiograph, [], [], "  ")


def test_without_a_model_the_start_says_what_to_do(app, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHCXR_MODEL", str(tmp_path / "absent"))
    with pytest.raises(SystemExit, match="Run `make demo` first"):
        app.main()
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("SYNTHCXR_MODEL", str(tmp_path))
    with pytest.raises(SystemExit, match="cannot be loaded"):
        app.main()


def test_a_model_that_is_named_comes_before_one_that_lies_about(app, tmp_path):
    beside, checkout = tmp_path / "model", tmp_path / "demo_output"
    for folder in (checkout, beside):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    assert app.find_model(None, [beside, checkout]) == str(beside)
    assert app.find_model(None, [tmp_path / "absent", checkout]) == str(checkout)
    assert app.find_model(str(checkout), [beside]) == str(checkout)
    assert app.find_model("org/model", [beside]) == "org/model"
    for bad in ("../model", str(tmp_path / "absent")):
        with pytest.raises(SystemExit, match="There is no model in"):
            app.find_model(bad, [beside])
    with pytest.raises(SystemExit, match="model or .*demo_output. Run `make demo`"):
        app.find_model(None, [tmp_path / "no" / "model", tmp_path / "no" / "demo_output"])


ALONE = """
import importlib.metadata, sys
version = importlib.metadata.version
def version_but_ours(name):
    if name == "synthcxr":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = version_but_ours
from pathlib import Path
import app, synthcxr
from PIL import Image
here = Path.cwd()
assert Path(synthcxr.__file__).is_relative_to(here), synthcxr.__file__
path = app.find_model()
assert Path(path) == here / "model", path
examples = app.example_studies(here, path)
lines = app.Reader(path).read(app.open_radiograph(examples[0][0]), ["edema"], "Clear lungs.")
print(len(examples), [line.name for line in lines])
"""


def test_the_folder_that_its_readme_makes_runs_where_synthcxr_is_not_installed(checkpoint, tmp_path):
    readme = (SPACE / "README.md").read_text().partition("## As a Space of your own")[2]
    commands = re.search(r"```bash\n(.*?)```", readme, re.DOTALL)[1]
    commands = commands.replace("../my-space", "$SPACE").replace("demo_output/model", "$MODEL")
    commands = commands.replace("synthcxr publish", "$PYTHON -m synthcxr.cli publish")
    here = "\n".join(line for line in commands.splitlines() if not line.startswith("hf "))
    space = tmp_path / "my-space"
    names = {"SPACE": str(space), "MODEL": str(checkpoint), "PYTHON": sys.executable}
    root = SPACE.parents[1]
    subprocess.run(["bash", "-euc", here], cwd=root, env=os.environ | names, check=True, capture_output=True)
    assert {"app.py", "README.md", "requirements.txt", "synthcxr", "model"} <= {path.name for path in space.iterdir()}
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=space, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 ['Pulmonary edema', 'Clear lungs.']" in done.stdout


def test_a_space_installs_what_the_package_needs():
    project = tomllib.loads((SPACE.parents[1] / "pyproject.toml").read_text())["project"]
    needed = {*project["dependencies"], *project["optional-dependencies"]["dicom"]}
    lines = (SPACE / "requirements.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == needed


def test_the_endpoint_answers_a_client(address, radiograph):
    client = Client(address, verbose=False)
    answer = client.predict(handle_file(radiograph), ["pneumothorax"], ["cavity"], "Clear lungs.", api_name="/read")
    table = answer[-1]
    assert [name in table for name in ("Pneumothorax", "Cavity", "Clear lungs.")] == [True] * 3


CHROMIUM = "/usr/bin/chromium"
BROWSER_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # a loaded machine is slow, not wrong
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_ARGUMENTS))
        yield browser
        browser.close()


@pytest.mark.parametrize("viewport", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_a_reader_takes_an_example_and_sees_scores_and_a_map(browser, address, tmp_path, viewport):
    from playwright.sync_api import expect

    page = browser.new_page(viewport=dict(zip(("width", "height"), viewport, strict=True)))
    elsewhere, errors = [], []
    page.on("request", lambda request: elsewhere.append(request.url) if _is_elsewhere(request.url) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    expect(page.get_by_role("alert").filter(has_text="Not for clinical use")).to_be_visible()

    page.locator("#examples button").first.click()
    expect(page.locator("#picture img")).to_be_visible()
    plain = _picture(page)
    page.get_by_label("Pulmonary nodule").check()
    page.locator("#read").click()
    expect(page.locator("#scores li")).to_have_count(5)
    expect(page.locator("#map-note")).to_contain_text("where bright")
    with_map = _picture(page)
    assert np.ptp(np.asarray(with_map, dtype=int), axis=-1).max() > 20, "the overlay has no colour"

    page.locator("#show").get_by_label("No").check()
    expect(page.locator("#map-note")).not_to_contain_text("where bright")
    assert np.abs(np.asarray(_picture(page), dtype=int) - np.asarray(plain, dtype=int)).max() <= 1
    page.locator("#show").get_by_label("Yes").check()
    expect(page.locator("#map-note")).to_contain_text("where bright")
    expect(page.get_by_role("alert").filter(has_text="Not for clinical use")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"

    page.screenshot(path=tmp_path / "space.png", full_page=True)
    assert elsewhere == []
    assert errors == []
    page.close()


def test_a_broken_file_is_answered_on_the_page(browser, address, tmp_path):
    from playwright.sync_api import expect

    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n cut")
    page = browser.new_page()
    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.get_by_text("broken.png is damaged or cut short")).to_be_visible()
    page.close()


def _is_elsewhere(url):
    return not url.startswith(("http://127.0.0.1", "http://localhost", "data:", "blob:"))


def _picture(page):
    """The picture that the page shows, fetched from the server as the page did."""
    source = page.locator("#picture img").get_attribute("src")
    return Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB")

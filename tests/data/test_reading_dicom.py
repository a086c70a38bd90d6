import csv
import io
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    generate_uid,
)

from synthcxr.data import read_radiograph


RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def dicom(pixels=RAMP, *, syntax=ExplicitVRLittleEndian, data=None, bits=12, **elements):
    """A radiograph as a file's bytes; `elements` override or (as `None`) remove."""
    file_meta = FileMetaDataset()
    file_meta.TransferSyntaxUID = syntax
    file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=file_meta, preamble=bytes(128))
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "MRN-12345", "DX"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() if data is None else data
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 or data is not None else "OW"
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def values(data):
    image = read_radiograph(data)
    return np.asarray(image).astype(int)


def table(entries, *, first=0, bits=16):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return Sequence([item])


def test_without_a_window_the_whole_range_is_shown_in_sixteen_bits():
    image = read_radiograph(dicom(RAMP // 2 + 500))
    shown = np.asarray(image)
    assert image.mode == "I;16"
    assert (shown.min(), shown.max()) == (0, 65535)
    assert (np.diff(shown.astype(int).ravel()) >= 0).all()


def test_eight_bits_stay_as_they_are():
    pixels = (RAMP % 256).astype(np.uint8)
    image = read_radiograph(dicom(pixels, bits=8))
    assert image.mode == "L"
    assert (np.asarray(image) == pixels).all()


def test_monochrome1_is_inverted():
    assert (values(dicom(PhotometricInterpretation="MONOCHROME1")) == 65535 - values(dicom())).all()


def test_the_linear_window_follows_the_standard():
    shown = values(dicom(WindowCenter=2048, WindowWidth=1024))
    expected = np.clip((RAMP - 2047.5) / 1023 + 0.5, 0, 1) * 65535
    assert np.abs(shown - expected).max() <= 0.51


def test_other_windows_follow_the_standard():
    exact = values(dicom(WindowCenter=2048, WindowWidth=1024, VOILUTFunction="LINEAR_EXACT"))
    assert np.abs(exact - np.clip((RAMP - 2048.0) / 1024 + 0.5, 0, 1) * 65535).max() <= 0.51
    sigmoid = values(dicom(WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID"))
    assert np.abs(sigmoid - 65535 / (1 + np.exp(-4 * (RAMP - 2048.0) / 1024))).max() <= 0.51


def test_the_first_of_several_windows_is_taken():
    both = values(dicom(WindowCenter=[2048, 100], WindowWidth=[1024, 50]))
    assert (both == values(dicom(WindowCenter=2048, WindowWidth=1024))).all()


def test_the_rescaling_comes_before_the_window():
    rescaled = values(dicom(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=3096, WindowWidth=2048))
    expected = np.clip((2.0 * RAMP - 1000 - 3095.5) / 2047 + 0.5, 0, 1) * 65535
    assert np.abs(rescaled - expected).max() <= 0.51


def test_a_look_up_table_is_preferred_to_a_window_and_spans_the_range():
    entries = np.clip(np.arange(4096) // 2 + 7, 0, 2000)
    shown = values(dicom(VOILUTSequence=table(entries), WindowCenter=10, WindowWidth=20))
    assert np.abs(shown - (entries[RAMP] - 7) / (2000 - 7) * 65535).max() <= 0.51


def test_a_table_that_starts_later_and_ends_earlier_is_held_at_its_ends():
    shown = values(dicom(VOILUTSequence=table(np.arange(100), first=1000)))
    assert (shown[RAMP <= 1000] == 0).all()
    assert (shown[RAMP >= 1099] == 65535).all()


def test_a_modality_table_is_applied():
    shown = values(dicom(ModalityLUTSequence=table(np.arange(4096)[::-1])))
    assert (shown == 65535 - values(dicom())).all()


def test_signed_pixels_are_read():
    pixels = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    assert (values(dicom(pixels)) == values(dicom())).all()


def test_bits_above_those_stored_do_not_count():
    overlaid = RAMP | np.where(np.arange(64) % 2, 0x8000, 0).astype(np.uint16)
    assert (values(dicom(overlaid)) == values(dicom())).all()


def test_what_the_detector_marks_as_padding_is_black():
    pixels = RAMP // 4 + 1000
    pixels[:, :8] = 4095
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        shown = values(dicom(pixels, PixelPaddingValue=4095, PhotometricInterpretation=kind))
        assert (shown[:, :8] == 0).all()
        assert shown[:, 8:].max() == 65535


def test_colour_is_turned_to_grey():
    pixels = np.repeat((RAMP % 256).astype(np.uint8)[..., None], 3, axis=2)
    assert (values(dicom(pixels, bits=8)) == pixels[..., 0]).all()


def test_a_file_without_preamble_is_read():
    data = dicom()
    assert (values(data[132:]) == values(data)).all()


def compressed(kind, syntax, **options):
    file = io.BytesIO()
    Image.fromarray((RAMP % 256).astype(np.uint8)).save(file, kind, **options)
    data = encapsulate([file.getvalue()])
    return {"pixels": (RAMP % 256).astype(np.uint8), "syntax": syntax, "data": data, "bits": 8}


def test_compressed_pixels_are_read():
    lossless = compressed("JPEG2000", JPEG2000Lossless, no_jp2=True)
    assert (values(dicom(**lossless)) == RAMP % 256).all()
    lossy = compressed("JPEG", JPEGBaseline8Bit, quality=95)
    assert np.abs(values(dicom(**lossy)) - RAMP % 256).mean() < 12


PALETTE = {"PhotometricInterpretation": "PALETTE COLOR"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (lambda: dicom(PixelData=None), "DICOM without pixel data"),
        (lambda: dicom(data=b""), "DICOM without pixel data"),
        (lambda: dicom(data=RAMP.tobytes()[:-100]), "cannot be decoded"),
        (lambda: dicom()[:-100], "cannot be decoded|cannot be parsed"),
        (lambda: dicom()[:200], "without pixel data|cannot be parsed"),
        (lambda: dicom(NumberOfFrames=30), "has 30 frames"),
        (lambda: dicom(Rows=0), "that is no radiograph"),
        (lambda: dicom(Rows=20_000, Columns=20_000), "20000x20000, 400 megapixels; the limit is 100"),
        (lambda: dicom(pixels=RAMP[:1, :1]), "1x1 pixels; that is no radiograph"),
        (lambda: dicom(WindowCenter=10, WindowWidth=0), "width -1"),
        (lambda: dicom(WindowCenter=10, WindowWidth=5, VOILUTFunction="CURVE"), "function 'CURVE'"),
        (lambda: dicom(BitsStored=None), "cannot be decoded"),
        (lambda: dicom((RAMP % 256).astype(np.uint8), bits=8, **PALETTE), "'PALETTE COLOR'; expected MONOCHROME"),
        (lambda: dicom(**compressed("JPEG2000", JPEG2000Lossless, no_jp2=True) | {"Rows": 8}), "says 64x8 pixels"),
        (lambda: dicom(**compressed("JPEG", JPEGBaseline8Bit) | {"Columns": 8}), "says 8x64 pixels"),
        (lambda: bytes(128) + b"DICM" + b"junk" * 100, "without pixel data|cannot be parsed"),
        (lambda: dicom(syntax=DeflatedExplicitVRLittleEndian), "is deflated DICOM"),
    ],
)
def test_bad_files_are_refused_in_one_line_with_their_name(tmp_path, data, expected):
    path = tmp_path / "study.dcm"
    path.write_bytes(data())
    with pytest.raises(ValueError, match=expected) as refusal:
        read_radiograph(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "Doe" not in str(refusal.value)


def test_a_huge_picture_behind_a_small_header_is_not_decoded():
    file = io.BytesIO()
    Image.new("L", (5000, 4000)).save(file, "JPEG2000", no_jp2=True)
    data = dicom((RAMP % 256).astype(np.uint8), syntax=JPEG2000Lossless, data=encapsulate([file.getvalue()]), bits=8)
    with pytest.raises(ValueError, match="5000x4000, 20 megapixels; the limit is 1"):
        read_radiograph(data, max_pixels=1_000_000)


def test_no_identifier_comes_back_even_from_odd_elements(recwarn, caplog):
    data = dicom(PatientBirthDate="20000101").replace(b"20000101", b"Doe^Jane")
    image = read_radiograph(data)
    assert image.info == {}
    file = io.BytesIO()
    image.save(file, "PNG")
    assert b"Doe" not in file.getvalue()
    assert not [warning for warning in recwarn if "Doe" in str(warning.message)]
    assert "Doe" not in caplog.text


def test_without_pydicom_the_extra_is_named(tmp_path):
    path = tmp_path / "study.dcm"
    path.write_bytes(dicom())
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from synthcxr.data import read_radiograph\n"
        f"try: read_radiograph({str(path)!r})\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'synthcxr[dicom]'" in said
    assert said.count("\n") == 1


def test_the_three_real_files_show_what_their_table_says(shared_data):
    with (shared_data / "dicom" / "dicom.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    images = {name: read_radiograph(shared_data / "dicom" / name) for name in names}
    siim = next(image for name, image in images.items() if name.startswith("siim"))
    assert (images["RG1_J2KI.dcm"].mode, images["RG1_J2KI.dcm"].size) == ("I;16", (1841, 1955))
    assert (siim.mode, siim.size) == ("L", (1024, 1024))
    assert (np.asarray(images["Fake_MONOCHROME1.dcm"]) == 255 - np.asarray(siim)).all()

    # The JPEG in the file, opened by Pillow alone, has the very same pixels.
    path = next(shared_data.glob("dicom/siim*"))
    frame = next(pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    assert (np.asarray(Image.open(io.BytesIO(frame)).convert("L")) == np.asarray(siim)).all()

    # The raw air around the patient is bright in MONOCHROME1; shown, the mediastinum is brighter than the lungs.
    chest = np.asarray(images["RG1_J2KI.dcm"]).astype(float)
    stored = pydicom.dcmread(shared_data / "dicom" / "RG1_J2KI.dcm").pixel_array.astype(float)
    assert np.corrcoef(chest[::20, ::20].ravel(), stored[::20, ::20].ravel())[0, 1] < -0.99

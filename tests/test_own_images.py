"""One's own images, of every kind of file: what is read, what is decided, and that it is said."""

import json
import zipfile

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from safetensors.numpy import save_file

from geomem import DataError, DistinctImages, companion, load_dataset, measure_regimes
from geomem.cli.main import main
from geomem.companion import notebooks
from geomem.data.ranges import RANGES, recognise
from geomem.data.sets import source_sha256

GEOMETRY = (  # the notebooks of one set's geometry, and of what is proved of it
    *("posterior", "coverage", "regimes", "schedules", "weight_bounds", "coverage_bounds"),
    *("shell_objective", "locality", "large_noise"),
)


@pytest.fixture
def pixels(rng):
    """10 images of 6 x 6 in colour, bytes."""
    return rng.integers(0, 256, (10, 6, 6, 3), np.uint8)


def images_in(folder, pixels, suffix="png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i}.{suffix}", **options)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", GEOMETRY)
def test_a_notebook_goes_on_with_repeats_and_enlarged_images_in_colour(name, tmp_path, monkeypatch):
    """Where a theorem's condition is not met nothing is known, and nothing stops."""
    digits = load_dataset("digits", n_train=150).train
    large = np.repeat(np.repeat(np.moveaxis(digits, 1, 3), 4, 1), 4, 2).repeat(3, 3)
    large[7] = large[3]
    np.save(tmp_path / "mine.npy", np.round((large + 1) * 127.5).astype(np.uint8))
    monkeypatch.chdir(ROOT)
    data = ["-p", "dataset", str(tmp_path / "mine.npy")]
    main(["run", name, "--profile", "smoke", *data, "--out", str(tmp_path / "out")])
    run = json.loads((tmp_path / "out" / name / "run.json").read_text())
    assert run["inputs"]["parameters"]["n_train"] == 120


@pytest.fixture
def run_until(monkeypatch):
    """The cells of a notebook, run here until one has given a name: all names then."""
    for module, name in ((torch, "set_num_threads"), (companion, "figure")):
        monkeypatch.setattr(module, name, lambda *args, **options: plt.close("all"))

    def run(notebook, name, **parameters):
        found = notebooks.read(notebooks.notebooks(ROOT)[notebook].path).cells
        first, *cells = [cell.source for cell in found if cell.cell_type == "code"]
        names = {}
        exec(first, names)
        names |= parameters
        while name not in names:
            exec(cells.pop(0), names)
        return names

    return run


@pytest.mark.parametrize(
    ("name", "until", "found"),
    [
        ("regimes", "found", lambda names: names["found"]["first"].geometry),
        ("schedules", "geometry", lambda names: names["geometry"]),
        ("covered", "seldom", lambda names: names["beside"][names["dataset"]][0]),
    ],
)
def test_one_set_with_repeats_has_one_danger_zone(name, until, found, run_until, tmp_path):
    """That of its distinct images, as in the chapters with models."""
    digits = load_dataset("digits", n_train=40, n_heldout=40)
    parts = {"x_train": np.tile(digits.train, (3, 1, 1, 1)), "x_test": digits.heldout}
    path = str(tmp_path / "mine.npz")
    np.savez(path, **{k: np.round((x + 1) * 127.5).astype(np.uint8) for k, x in parts.items()})
    own = dict(dataset=path, n_train=120, n_heldout=40, second_n_train=40, device="cpu")
    geometry = found(run_until(name, until, **own))
    data = load_dataset(path)
    distinct = DistinctImages(data.train, "cpu").images
    assert (len(distinct), len(data.train)) == (40, 120)
    assert geometry.regimes == measure_regimes(data.heldout, distinct, device="cpu").regimes


def test_near_twins_of_ones_own_break_nothing_that_must_hold(run_until, tmp_path, rng):
    """Images one gray level apart, which noise of the lowest level hides from one another."""
    eight = rng.integers(0, 255, (30, 4, 4), np.uint8)
    twins = eight.copy()
    twins[:, 0, 0] += 1
    np.savez(tmp_path / "mine.npz", x_train=np.concatenate([eight, twins]), x_test=255 - eight)
    own = dict(dataset=str(tmp_path / "mine.npz"), n_train=60, n_queries=60, device="cpu")
    assert run_until("posterior", "off", **own)["mean"][0] < 0.9


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n_train": 1297}, "smaller n_train"),
        ({"n_heldout": 39}, "19 held-out"),
        ({"n_heldout": 3}, "hold out 4"),
        ({"n_train": 19}, "19 training"),
    ],
)
def test_too_few_images_stop_your_own_model_before_it_trains(given, says, run_until):
    with pytest.raises(ValueError, match=says) as caught:
        run_until("your_own_model", "images", **given)
    assert "\n" not in str(caught.value)
    run_until("your_own_model", "images", n_train=20, n_heldout=40, device="cpu")


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(folder.rglob("*")):
            file.write(member, member.relative_to(folder))
    return path


def test_a_folder_in_a_zip_is_no_image_whatever_its_name(tmp_path, rng):
    folder = images_in(tmp_path / "a" / "pages.png", rng.integers(0, 256, (6, 4, 4, 3), np.uint8))
    packed = zipped(folder.parent, tmp_path / "a.zip")
    assert "pages.png/" in zipfile.ZipFile(packed).namelist()
    whole, inside = (load_dataset(path, heldout=False) for path in (folder.parent, packed))
    np.testing.assert_array_equal(whole.train, inside.train)
    with pytest.raises(DataError, match="holds out none"):
        load_dataset(packed, heldout=False, n_heldout=2)


def scaled(pixels):
    return (pixels / 127.5 - 1).transpose(0, 3, 1, 2)


def save_npy(path, pixels):
    np.save(path / "a.npy", pixels)
    return path / "a.npy"


def save_npz(path, pixels):
    np.savez(path / "a.npz", pixels, np.arange(len(pixels)))
    return path / "a.npz"


def save_safetensors(path, pixels):
    save_file({"x": pixels, "y": np.arange(len(pixels))}, path / "a.safetensors")
    return path / "a.safetensors"


def save_tensor(path, pixels):
    torch.save(torch.from_numpy(pixels), path / "a.pt")
    return path / "a.pt"


def save_tuple(path, pixels):
    torch.save((torch.from_numpy(pixels), torch.arange(len(pixels))), path / "a.pth")
    return path / "a.pth"


def save_folder(path, pixels):
    return images_in(path / "set", pixels)


def save_zip(path, pixels):
    return zipped(images_in(path / "set" / "inside", pixels).parent, path / "a.zip")


SAVED = [save_npy, save_npz, save_safetensors, save_tensor, save_tuple, save_folder, save_zip]


@pytest.mark.parametrize("save", SAVED)
def test_the_same_images_from_every_kind_of_file(tmp_path, pixels, save, capsys):
    path = save(tmp_path, pixels)
    data = load_dataset(path, heldout=False)
    np.testing.assert_allclose(data.train, scaled(pixels), atol=1e-6)
    labelled = save in (save_npz, save_safetensors, save_tuple)
    np.testing.assert_array_equal(data.labels.train, np.arange(10) if labelled else np.full(10, -1))
    assert data.heldout.shape == (0, 3, 6, 6) and len(data.labels.heldout) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and data.source.partition("; ")[2] in said
    assert "0 to 255 taken to -1 to 1" in said and "none held out" in said
    assert source_sha256(str(path)) != "absent"


@pytest.mark.parametrize("way", ["float16", "float64", "bfloat16", "0 to 255", "int64", "-1 to 1"])
@pytest.mark.parametrize("kind", ["npy", "pt", "safetensors"])
def test_a_range_is_recognised_and_said(tmp_path, pixels, way, kind):
    unit = torch.from_numpy(pixels / 255)
    tensor = {
        "0 to 255": 255.0 * unit,
        "int64": torch.from_numpy(pixels).long(),
        "-1 to 1": 2 * unit - 1,
    }.get(way)
    tensor = unit.to(getattr(torch, way)) if tensor is None else tensor
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, tensor.float().numpy() if way == "bfloat16" else tensor.numpy())
    elif kind == "pt":
        torch.save({"any": tensor}, path)
    else:
        from safetensors.torch import save_file as save_tensors

        save_tensors({"any": tensor}, path)
    data = load_dataset(path)
    rough = {"float16": 1e-3, "bfloat16": 1e-2}.get(way, 1e-6)
    np.testing.assert_allclose(data.train, scaled(pixels)[data.indices.train], atol=rough)
    low, high = {"-1 to 1": (-1, 1), "0 to 255": (0, 255), "int64": (0, 255)}.get(way, (0, 1))
    assert f"values of {low} to {high}" in data.source


def test_a_range_that_cannot_be_told_is_asked_for(tmp_path, rng):
    np.save(tmp_path / "a.npy", 16 * rng.random((10, 4, 4)))
    with pytest.raises(DataError, match=r"^a.npy: values of .* to 1\d.* give range=\(low, high\)"):
        load_dataset(tmp_path / "a.npy")
    images = np.load(tmp_path / "a.npy")
    told = load_dataset(tmp_path / "a.npy", range=(0, 16), heldout=False)
    np.testing.assert_allclose(told.train[:, 0], images / 8 - 1, atol=1e-6)
    kept = load_dataset(tmp_path / "a.npy", range="any", size=2, heldout=False)
    blocks = images.reshape(10, 2, 2, 2, 2).mean((2, 4))
    np.testing.assert_allclose(kept.train[:, 0], blocks, rtol=1e-5)
    assert "kept as they are" in kept.source
    with pytest.raises(DataError, match="must be from 0 to 3"):
        load_dataset(tmp_path / "a.npy", range=(0, 3))
    for nonsense in ("all", (1, 0), 3, (0, np.nan), "ab"):
        with pytest.raises(DataError, match="range must be"):
            load_dataset(tmp_path / "a.npy", range=nonsense)


def test_masks_of_bytes_are_not_taken_for_black_images(tmp_path, rng):
    np.save(tmp_path / "a.npy", rng.integers(0, 2, (10, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"0 or 1: give range=\(0, 1\)"):
        load_dataset(tmp_path / "a.npy")
    assert {*load_dataset(tmp_path / "a.npy", range=(0, 1)).train.ravel()} == {-1, 1}
    assert load_dataset(tmp_path / "a.npy", range=(0, 255)).train.max() == np.float32(1 / 127.5) - 1
    np.save(tmp_path / "b.npy", rng.random((10, 4, 4)) < 0.5)
    assert {*load_dataset(tmp_path / "b.npy").train.ravel()} == {-1, 1}


@pytest.mark.parametrize("bounds", RANGES)
def test_what_is_recognised_holds_the_values_and_is_told_from_the_others(bounds, rng):
    values = rng.uniform(*bounds, 1000)
    assert recognise(values.min(), values.max()) == bounds
    assert recognise(values.min(), 1.01 * bounds[1]) != bounds


def test_latents_are_kept(tmp_path, rng):
    latents = rng.normal(size=(10, 4, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "a.npz", latents=latents)
    data = load_dataset(tmp_path / "a.npz", heldout=False)
    np.testing.assert_array_equal(data.train, latents)
    assert "kept as they are" in data.source
    with pytest.raises(DataError, match="4 channels have no gray"):
        load_dataset(tmp_path / "a.npz", grayscale=True)
    np.savez(tmp_path / "b.npz", latents=latents[:, :3])
    with pytest.raises(DataError, match="range='any' for latents"):
        load_dataset(tmp_path / "b.npz")


def test_the_parts_of_a_file_by_their_names(tmp_path, pixels):
    test = 255 - pixels[:4]
    labels = dict(y_train=np.arange(10), y_test=np.arange(4)[:, None] + 5)
    np.savez(tmp_path / "a.npz", x_train=pixels, x_test=test, x_val=test[:1], **labels)
    data = load_dataset(tmp_path / "a.npz")
    np.testing.assert_allclose(data.heldout, scaled(test), atol=1e-6)
    assert data.labels.train.tolist() == [*range(10)] and data.labels.heldout.tolist() == [
        5,
        6,
        7,
        8,
    ]
    np.savez(tmp_path / "b.npz", first=pixels, second=test)
    with pytest.raises(DataError, match=r"no array 'images', and no other .* holds first, second"):
        load_dataset(tmp_path / "b.npz")


# Folders and .zip files


@pytest.mark.parametrize("packed", [False, True])
def test_class_folders_give_labels(tmp_path, pixels, packed):
    for i, name in enumerate(("dog", "cat", "ape")):
        images_in(tmp_path / "set" / "all" / name, pixels[3 * i : 3 * i + 3])
    (tmp_path / "set" / "all" / "._1.png").write_bytes(b"left by another system")
    (tmp_path / "set" / "all" / "cat" / ".DS_Store").write_bytes(b"")
    (tmp_path / "set" / "__MACOSX").mkdir()
    (tmp_path / "set" / "__MACOSX" / "x.png").write_bytes(b"")
    path = zipped(tmp_path / "set", tmp_path / "a.zip") if packed else tmp_path / "set"
    data = load_dataset(path, heldout=False)
    assert data.labels.train.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    np.testing.assert_allclose(data.train, scaled(pixels[[6, 7, 8, 3, 4, 5, 0, 1, 2]]), atol=1e-6)
    assert "labels from 3 folders" in data.source
    only = load_dataset(path, classes="cat", heldout=False)
    np.testing.assert_allclose(only.train, scaled(pixels[3:6]), atol=1e-6)
    with pytest.raises(DataError, match="its classes are ape, cat, dog"):
        load_dataset(path, classes="cow", heldout=False)


def test_a_file_in_another_class_is_another_data_set(tmp_path, pixels):
    for name in ("1", "3"):
        images_in(tmp_path / name, pixels[:3])
    assert load_dataset(tmp_path).labels.heldout.tolist() == [3]
    before = source_sha256(str(tmp_path))
    (tmp_path / "1" / "0.png").rename(tmp_path / "1" / "x.png")
    (tmp_path / "3" / "0.png").rename(tmp_path / "1" / "0.png")
    (tmp_path / "1" / "x.png").rename(tmp_path / "3" / "0.png")
    assert source_sha256(str(tmp_path)) == before, "the same images in the same places"
    (tmp_path / "1" / "2.png").rename(tmp_path / "3" / "9.png")
    assert source_sha256(str(tmp_path)) != before


def test_folders_called_train_and_test(tmp_path, pixels):
    for part, rows in (("train", slice(0, 6)), ("test", slice(6, 10))):
        for i, image in enumerate(pixels[rows]):
            images_in(tmp_path / part / "ab"[i % 2], image[None] if i < 2 else image[None] ^ 1)
    data = load_dataset(tmp_path)
    assert len(data.train) == len(data.heldout) == 2
    assert data.labels.train.tolist() == data.labels.heldout.tolist() == [0, 1]
    assert "held out are those in test" in data.source and "left out" not in data.source
    images_in(tmp_path / "val" / "a", pixels[:2] ^ 2)
    assert "2 of 6 images left out" in load_dataset(tmp_path).source
    images_in(tmp_path, pixels[:1] ^ 4)  # a preview, and a third folder
    images_in(tmp_path / "unlabeled", pixels[:3] ^ 8)
    found = load_dataset(tmp_path)
    assert len(found.train) == len(found.heldout) == 2
    assert "6 of 10 images left out" in found.source


@pytest.mark.parametrize("packed", [False, True])
def test_edms_own_format(tmp_path, pixels, packed):
    for i, image in enumerate(pixels):
        folder = tmp_path / "set" / f"{i // 4:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"img{i:08d}.png")
    names = [f"{i // 4:05d}/img{i:08d}.png" for i in range(10)]
    path = tmp_path / ("a.zip" if packed else "set")
    listed = {
        "labels": [*zip(names, range(3, 13), strict=True)],
        "none": None,
        "vectors": [(name, [0.5, 1]) for name in names],
    }
    for key, labels in listed.items():
        (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
        if packed:
            zipped(tmp_path / "set", path)
        data = load_dataset(path, heldout=False)
        expected = np.arange(3, 13) if key == "labels" else np.full(10, -1)
        np.testing.assert_array_equal(data.labels.train, expected)
        np.testing.assert_allclose(data.train, scaled(pixels), atol=1e-6)
    (tmp_path / "set" / "dataset.json").write_text("[1")
    if packed:
        zipped(tmp_path / "set", path)
    with pytest.raises(DataError, match=r"dataset\.json is not readable"):
        load_dataset(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
def test_photographs_are_turned_as_exif_says(tmp_path, orientation, form):
    """A white corner at the top left, as a viewer shows it, whatever way it is stored."""
    upright = np.full((16, 24, 3), 20, np.uint8)
    upright[:8, :8] = 235
    a = upright
    stored = {
        1: a,
        2: a[:, ::-1],
        3: a[::-1, ::-1],
        4: a[::-1],
        5: a.transpose(1, 0, 2),
        6: np.rot90(a, 1),
        7: a[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    images_in(tmp_path, [np.ascontiguousarray(stored)] * 5, form, exif=exif)
    data = load_dataset(tmp_path)
    assert data.train.shape == (4, 3, 16, 24)
    np.testing.assert_allclose(data.train[0], scaled(upright[None])[0], atol=0.15)
    assert ("turned upright" in data.source) == (orientation > 1 and form != "tiff")


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_exif_block_of_one_photograph_is_no_reason_to_refuse_them(
    tmp_path, pixels, packed
):
    """Whatever is damaged there; the pixels are those that are there without it."""
    plain = load_dataset(images_in(tmp_path / "plain", pixels, "jpeg")).train
    exif = Image.Exif()
    exif[0x011A], exif[0x010F] = 72.0, "a maker of cameras"
    block = exif.tobytes()
    cut = (block[:k] for k in range(12, len(block), 6))
    wrong = (block[:k] + b"\xff" + block[k + 1 :] for k in range(6, len(block), 4))
    for damaged in (*cut, *wrong):
        folder = images_in(tmp_path / "set", pixels, "jpeg")
        Image.fromarray(pixels[0]).save(folder / "0.jpeg", exif=damaged)
        path = zipped(folder, tmp_path / "set.zip") if packed else folder
        np.testing.assert_array_equal(load_dataset(path).train, plain)


def test_transparent_pixels_lie_on_white(tmp_path, pixels, rng):
    alpha = rng.integers(0, 256, (10, 6, 6, 1), np.uint8)
    veiled = np.concatenate([pixels, alpha], 3)
    on_white = 255 + (pixels - 255.0) * (alpha / 255)
    np.save(tmp_path / "a.npy", veiled)
    for path in (images_in(tmp_path / "rgba", veiled), tmp_path / "a.npy"):
        data = load_dataset(path, heldout=False)
        np.testing.assert_allclose(data.train, scaled(on_white), atol=1.01 / 127.5)
        assert "laid on white where transparent" in data.source
    gray = images_in(tmp_path / "la", veiled[..., 2:])
    data = load_dataset(gray, heldout=False)
    np.testing.assert_allclose(data.train, scaled(on_white[..., 2:]), atol=1.01 / 127.5)


def test_gray_palette_and_16_bits(tmp_path, pixels, rng):
    gray = images_in(tmp_path / "gray", pixels[..., 0])
    assert load_dataset(gray).train.shape == (8, 1, 6, 6)
    for i, image in enumerate(pixels[:5]):
        Image.fromarray(image).quantize(256).save(gray / f"{i}.png")
    data = load_dataset(gray, heldout=False)
    np.testing.assert_allclose(data.train[:5], scaled(pixels[:5]), atol=1e-6)
    np.testing.assert_allclose(data.train[5:, 1], pixels[5:, ..., 0] / 127.5 - 1, atol=1e-6)
    deep = rng.integers(0, 65536, (10, 6, 6), np.uint16)
    for suffix in ("png", "tiff"):
        found = load_dataset(images_in(tmp_path / suffix, deep, suffix), heldout=False)
        np.testing.assert_allclose(found.train[:, 0], deep / 32767.5 - 1, atol=1e-6)
        assert "16 bits" in found.source
    twelve = images_in(tmp_path / "twelve", deep // 16)
    with pytest.raises(DataError, match="several ranges"):
        load_dataset(twelve)
    found = load_dataset(twelve, heldout=False, range=(0, 4095))
    np.testing.assert_allclose(found.train[:, 0], (deep // 16) / 2047.5 - 1, atol=1e-6)
    for order in "<>":  # of bytes
        np.save(tmp_path / f"{order}.npy", deep.astype(f"{order}u2"))
        found = load_dataset(tmp_path / f"{order}.npy", heldout=False)
        np.testing.assert_allclose(found.train[:, 0], deep / 32767.5 - 1, atol=1e-6)
    images_in(tmp_path / "png", pixels[:1])
    with pytest.raises(DataError, match="16 bits among coloured"):
        load_dataset(tmp_path / "png")


@pytest.mark.parametrize("form", ["gif", "webp", "tiff"])
def test_the_first_frame_of_an_animation(tmp_path, form):
    black, white = (Image.new("L", (8, 8), shade) for shade in (0, 255))
    for i in range(5):
        black.save(tmp_path / f"{i}.{form}", save_all=True, append_images=[white])
    data = load_dataset(tmp_path)
    assert np.all(data.train == -1) and "5 the first frame of several" in data.source


def test_images_of_several_sizes_need_a_size(tmp_path, rng):
    flat = rng.integers(0, 256, (3, 3), np.uint8)
    images = [np.kron(flat, np.ones((k, k), np.uint8)) for k in (1, 2, 4, 4)]
    images.append(np.pad(images[2], ((0, 0), (6, 6))))  # its middle is the same square
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match=r"more than one size .* give a size .* to scale"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, size=3, heldout=False)
    np.testing.assert_allclose(data.train[:, 0], np.stack([flat / 127.5 - 1] * 5), atol=1e-6)
    assert (
        "central squares scaled to 3 x 3" in data.source
        and "4 training images repeat" in data.source
    )
    with pytest.raises(DataError, match="size=4 is not a down-sampling of 3x3"):
        load_dataset(tmp_path, size=4)


# Training and held-out images as two paths


def test_held_out_images_of_another_path(tmp_path, pixels, capsys):
    for name, rows in (("ape", [0, 1]), ("cat", [2, 3])):
        images_in(tmp_path / "mine" / name, pixels[rows])
    for name, rows in (("cat", [4]), ("dog", [5, 2])):
        images_in(tmp_path / "new" / name, pixels[rows])
    data = load_dataset(tmp_path / "mine", heldout=tmp_path / "new")
    np.testing.assert_allclose(data.train, scaled(pixels[:4]), atol=1e-6)
    np.testing.assert_allclose(data.heldout, scaled(pixels[[4, 5, 2]]), atol=1e-6)
    assert data.labels.heldout.tolist() == [1, -1, -1], "by the training set's own numbers"
    said = capsys.readouterr().out
    assert "held out is your folder new" in said
    assert "1 held-out images are training images too" in said and "fifth" not in said
    np.save(tmp_path / "a.npy", (pixels[4:] / 255).astype(np.float32))
    data = load_dataset(tmp_path / "mine", heldout=tmp_path / "a.npy")
    np.testing.assert_allclose(data.heldout, scaled(pixels[4:]), atol=1e-6)
    np.save(tmp_path / "b.npy", (pixels / 127.5 - 1).astype(np.float32))
    with pytest.raises(DataError, match=r"like values of -1 to 1, held-out ones .*; give range="):
        load_dataset(tmp_path / "b.npy", heldout=tmp_path / "a.npy")
    np.save(tmp_path / "c.npy", pixels[:, :4])
    with pytest.raises(DataError, match="3 x 6 x 6 and held-out ones 3 x 4 x 6"):
        load_dataset(tmp_path / "mine", heldout=tmp_path / "c.npy")
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(tmp_path / "mine", heldout=tmp_path / "nowhere")


def test_a_range_is_not_laid_on_bytes_beside_other_numbers(tmp_path, rng):
    """Whichever part has them; where both ranges fit, or none, that is said."""
    eight = rng.integers(0, 256, (9, 4, 4), np.uint8)
    eight[0, 0, 0] = 255
    right = (eight / np.float32(127.5) - 1)[:, None]

    def read(train, heldout, asked):
        for name, images in (("train", train), ("new", heldout)):
            np.save(tmp_path / f"{name}.npy", images)
        return load_dataset(tmp_path / "train.npy", heldout=tmp_path / "new.npy", range=asked)

    for asked in ((0, 4095), (-1000, 1000), (0, 1)):
        other = asked[0] + eight / 255 * (asked[1] - asked[0])
        for found in (read(other, eight, asked), read(eight, other, asked)):
            np.testing.assert_allclose(found.heldout, right, atol=1e-5)
            np.testing.assert_allclose(found.train, right, atol=1e-5)
    masks = (eight > 99).astype(np.uint8)
    assert {*np.unique(read(eight / 255, masks, (0, 1)).heldout)} == {-1.0, 1.0}
    for train, heldout, asked in (
        (1.5 * eight, eight, (0, 400)),
        (16.0 * eight, eight // 9, (0, 4095)),
    ):
        with pytest.raises(DataError, match="bytes can be values of 0 to"):
            read(train, heldout, asked)
    # Of bytes alone.
    for asked, lowest in (((0, 4095), -1), ((0, 256), -1), ((-128, 383), -0.5)):
        assert read(eight, eight, asked).train.min() == pytest.approx(lowest, abs=0.01)
        assert read(eight, eight, asked).train.max() > -0.5


def test_a_fifth_that_is_held_out_is_said(tmp_path, pixels, capsys):
    load_dataset(images_in(tmp_path / "set", pixels))
    said = capsys.readouterr().out
    assert "8 training and 2 held-out" in said and "every fifth image is held out" in said
    load_dataset("digits", n_train=2)
    assert capsys.readouterr().out == "", "a set with a name has its own held-out images"
    few = images_in(tmp_path / "few", pixels[:4])
    with pytest.raises(DataError, match="4 images are too few"):
        load_dataset(few)
    assert len(load_dataset(few, heldout="digits", size=6, grayscale=True).train) == 4


# What would run, or fill the memory


class Program:
    def __reduce__(self):
        return (print, ("run",))


def strided(claimed):
    return torch.zeros(1).as_strided(claimed, (0,) * len(claimed))


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("pt", Program(), "would run code"),
        ("pt", {"a": Program()}, "would run code"),
        ("pt", strided((10**9, 100, 100)), "not the plain array"),
        # The newest torch does not even load it.
        ("pt", torch.eye(5).to_sparse(), "not the plain array|not a file of plain tensors"),
        ("pt", torch.zeros(9, 4, 4, dtype=torch.complex64), "real numbers"),
        ("pt", 3, "not a file of plain tensors"),
        ("pt", {"a": "text"}, "holds no plain array"),
        ("pt", b"half", "would run code"),
        ("npy", b"half", "not a readable .npy"),
        ("safetensors", b"half", "not a readable .safetensors"),
        ("safetensors", b"\xff" * 99, "not a readable .safetensors"),
        ("zip", b"half", "not a readable .zip"),
        ("mat", b"MATLAB", "not read: save its images as .npy"),
        ("txt", b"words", "is neither"),
    ],
)
def test_hostile_files_are_one_line(tmp_path, capsys, kind, content, message):
    path = tmp_path / f"a.{kind}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value) and capsys.readouterr().out == ""


def test_a_zip_that_is_a_bomb_or_damaged(tmp_path, pixels):
    path = tmp_path / "a.zip"
    packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with packed, packed.open("x.webp", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(DataError, match=r"x\.webp takes more than"):
        load_dataset(path)
    whole = zipped(images_in(tmp_path / "set", pixels), path).read_bytes()
    at = whole.index(b"IDAT") + 20
    path.write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
    with pytest.raises(DataError, match=r"0\.png is not a readable image"):
        load_dataset(path)

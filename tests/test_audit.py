"""The audit: what its numbers are, that it finds its parts again, and what its page asks for."""

import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from matplotlib import pyplot as plt
from test_arrays import FORMS, NONSENSE

import geomem
from geomem import Schedule
from geomem.cli.main import main
from geomem.diffusion.sampler import levels_of
from geomem.errors import InputError
from geomem.geometry.intervals import Fraction
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import neighbours
from geomem.plots import STYLE, drawing
from geomem.report import audit as auditing
from geomem.report import samples
from geomem.report.asked import QUICK, Asked, clocks
from geomem.report.model import _loss, _samples, compared, levels_for
from geomem.report.part import Part, stem
from geomem.report.report import Report


@pytest.fixture(scope="module")
def data():
    return geomem.load_dataset("digits", n_train=48, n_heldout=60)


@pytest.fixture(scope="module")
def models(data):
    """One that copies, one that cannot."""
    copier = geomem.EmpiricalDenoiser(data.train, device="cpu")
    return {"copier": copier, "smooth": geomem.GaussianDenoiser(data.train, device="cpu")}


@pytest.fixture(scope="module")
def audited(data, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("audited")
    given = dict(model=models, samples=data.train[:30], sampler="hand")
    return geomem.audit(data, **given, out=out, quiet=True), out


@pytest.fixture(scope="module")
def report(audited):
    return audited[0]


@pytest.fixture
def begun(audited, tmp_path):
    """A folder with what was found of the images and the samples, and of no model."""
    (tmp_path / "begun" / "parts").mkdir(parents=True)
    for name in ("images", "gap", "samples"):
        shutil.copy(audited[1] / "parts" / f"{name}.json", tmp_path / "begun" / "parts")
    return tmp_path / "begun"


def test_of_images_it_says_what_the_library_says(data, report):
    geometry = geomem.measure_regimes(data.heldout, data.train)
    zone = [report.numbers[name].value for name in ("zone_from", "zone_to")]
    assert zone == [geometry.regimes.covered.value, geometry.regimes.concentrated.value]
    gap = geomem.suggest_gap(data.train, data.heldout, resamples=100)
    assert (report.gap.window, report.gap.low, report.gap.zone) == (gap.window, gap.low, gap.zone)


def test_copies_are_seen_and_a_floor_stands_beside_them(report):
    assert report.numbers["memorized"].value == 1
    assert report.numbers["floor"].value < 0.2
    assert report.numbers["memorized"].low > 0.8
    assert report.holds("smooth/memorized < 0.3")  # but of all that is so called it does not hold
    assert not report.holds("memorized < 0.3") and not report.holds("memorized.low > 0.8")
    picture = report.parts["samples"].pictures["worst"]
    assert len(picture.csv.splitlines()) == 9 and picture.kind == "png"


def test_a_copier_and_a_smooth_model_are_told_apart(report):
    numbers = report.numbers
    assert numbers["copier/memorized"].value == 1 and numbers["copier/rate_peak"].value > 0.5
    assert numbers["copier/membership"].value > 0.95
    assert numbers["smooth/memorized"].value < 0.3 and numbers["smooth/rate_peak"].value < 0.3
    assert report.parts["compared"].said[0].startswith("Keep smooth")


def test_equal_inputs_give_equal_bytes_and_kept_parts_are_found(data, begun, tmp_path, monkeypatch):
    given = dict(samples=data.train[:30], sampler="hand", quiet=True)
    anew = geomem.audit(data, **given, out=tmp_path / "anew")
    monkeypatch.setattr(auditing, "images_part", None)  # whoever calls it fails
    assert geomem.audit(data, **given, out=begun).json == anew.json
    files = sorted(path.relative_to(begun) for path in begun.rglob("*.*"))
    assert {path.suffix for path in files} >= {".html", ".json", ".svg", ".png", ".csv"}
    for path in files:
        assert (begun / path).read_bytes() == (tmp_path / "anew" / path).read_bytes()
    with pytest.raises(TypeError):
        geomem.audit(data, **given, out=begun, seed=1)


def test_what_a_part_is_made_of_is_in_its_key(data, monkeypatch):
    real = auditing._steps

    def keys(**how):
        found = {}

        def steps(*arguments):
            found.update({name: key for name, _, key, _ in real(*arguments)})
            raise InterruptedError

        given = dict(train=data.train, heldout=data.heldout, samples=data.train[:30])
        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(auditing, "_steps", steps)
            geomem.audit(**given | how, quiet=True)
        return found

    usual = keys()
    assert keys() == usual
    for change in (
        dict(c=1.0), dict(level=0.5), dict(thorough=True), dict(seed=1),
        dict(heldout=data.heldout[:40]), dict(train=data.train[::-1].copy()),
        dict(schedule=Schedule.ddpm("scaled_linear")),
    ):  # fmt: skip
        other = keys(**change)
        assert all(other[name] != usual[name] for name in usual), change
    other = keys(samples=data.train[18:])
    assert other["samples"] != usual["samples"] and other["images"] == usual["images"]


def test_shells_and_level_are_those_that_are_asked_for(data, report):
    found = geomem.audit(data, c=1.0, level=0.5, quiet=True).numbers
    regimes = geomem.measure_regimes(data.heldout, data.train, c=1.0, level=0.5).regimes
    assert found["zone_from"].value == regimes.covered.value != report.numbers["zone_from"].value
    assert found["zone_to_least"].value <= found["zone_to"].value <= found["zone_to_most"].value
    latest = geomem.coverage_certificate(data.heldout, data.train, c=1.0).start(0.5)
    assert found["zone_from_latest"].value == pytest.approx(latest, nan_ok=True)


def test_samples_that_are_no_copies_beyond_the_floor_ask_for_nothing(data):
    found = geomem.audit(data, samples=data.heldout, quiet=True)
    assert found.numbers["above_floor"].value == 0
    assert found.answers["What to do?"][0].startswith("Nothing now")


def test_the_weighted_loss_of_what_answers_with_nothing(data):
    """(sigma^2 + v) / (sigma^2 v) |x|^2 / d at each level, v the variance of the images."""
    sigma, part = np.array([0.1, 1.0, 10.0]), Part("", "")
    nothing = geomem.denoising_error(lambda x, sigma: 0 * x, data.heldout, sigma)
    _loss(SimpleNamespace(train=data.train), nothing, part)
    v = data.train.var(dtype=np.float64)
    expected = ((sigma**2 + v) / (sigma**2 * v)).mean() * np.square(data.heldout).mean()
    assert part.numbers["heldout_loss"].value == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def parts():
    def part(copies, losses):
        made = Part("", "")
        made.number("memorized", Fraction.of(copies, 64), "share", "")
        made.series["heldout_loss"] = losses
        return made

    return {"a": part(9, [1.0, 1.1, 0.9]), "b": part(0, [1.1, 1.0, 1.0]), "c": part(0, [5, 6, 7])}


def test_of_models_that_lose_as_little_the_one_that_copies_least_is_kept(parts):
    said = compared(parts, "").said
    assert said[0].startswith("Keep b")
    assert "is that of a; not told apart from it (paired over images, 95%): b." in said[1]


def test_a_model_that_something_is_wrong_with_is_never_preferred(parts):
    parts["a"].warnings.append("Your held-out images look trained on.")
    said = compared(parts, "").said
    assert said[0].startswith("Keep b") and "nothing is wrong is that of b." in said[1]
    assert "wrong with a, which cannot be chosen: Your held-out images look trained on." in said[2]
    for part in parts.values():
        part.warnings.append("Something.")
    assert compared(parts, "").said == ["None can be preferred: something is wrong with each."]


def test_a_stopped_audit_keeps_what_is_done(data, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(auditing, "samples_part", stopped)
        with pytest.raises(KeyboardInterrupt):
            geomem.audit(data, samples=data.train[:30], out=tmp_path, quiet=True)
    kept = tmp_path / "parts" / "images.json"
    assert kept.is_file() and not (tmp_path / "report.html").exists()
    kept.write_text(kept.read_text()[:-9])  # damaged: found anew
    assert (
        geomem.audit(data, samples=data.train[:30], out=tmp_path, quiet=True).parts["images"].said
    )


def test_a_report_replaces_its_own_figures_and_no_others(data, report, tmp_path, capsys):
    mine = tmp_path / "figures" / "mine.png"
    for place in (mine, tmp_path / "parts" / "of-my-work"):
        place.parent.mkdir()
        place.write_text("mine")
    np.save(tmp_path / "train.npy", data.train)
    with pytest.raises(SystemExit):
        main(["audit", f"{tmp_path}/train.npy", "--out", str(tmp_path)])
    assert capsys.readouterr().err.count("\n") == 1
    for write in (lambda: geomem.audit(data, out=tmp_path), lambda: report.write(tmp_path)):
        with pytest.raises(InputError, match=r"figures holds mine\.png, of no report"):
            write()
    assert mine.read_text() == "mine" and not (tmp_path / "report.html").exists()
    mine.unlink()
    for written in (report, replace(report, parts={"images": report.parts["images"]})):
        written.write(tmp_path)
        drawn = {path.stem for path in mine.parent.glob("*.csv")}
        parts = written.parts.items()
        assert drawn == {f"{stem(name)}-{key}" for name, part in parts for key in part.pictures}
    mine.write_text("mine")
    with pytest.raises(InputError, match="of no report"):
        report.write(tmp_path)
    assert mine.read_text() == "mine"


def test_the_page_asks_for_nothing_and_runs_nothing(data, models, begun):
    hostile = "<script>alert(1)</script>{{ 7 * 7 }}"
    given = dict(model={hostile: models["smooth"]}, samples=data.train[:30], sampler=hostile)
    found = geomem.audit(data, **given, out=begun, quiet=True)
    # Samples of one's own come before ours.
    assert found.numbers["memorized"].value == 1 and found.numbers["model/memorized"].value < 0.3
    page = found.html
    assert "<script" not in page and "{{ 7 * 7 }}" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|<link|<iframe", page)
    json.loads(found.json, parse_constant=pytest.fail)  # no NaN, no Infinity


def test_held_out_images_that_a_model_was_trained_on_are_noticed(data, begun):
    both = np.concatenate([data.train, data.heldout])
    copier = geomem.EmpiricalDenoiser(both, device="cpu")
    found = geomem.audit(data.train, data.heldout, model=copier, out=begun, quiet=True)
    assert any("look trained on" in text for text in found.parts["model"].warnings)
    # Without held-out images there is nothing to notice, and nothing is said of new ones.
    alone = geomem.audit(data.train, model=copier, quiet=True)
    assert not alone.parts["model"].warnings
    assert "floor" not in alone.numbers and "membership" not in alone.numbers
    assert "zone_from" in alone.numbers and "memorized" in alone.numbers
    assert "held-out" in alone.about["missing"]


def asked_of(train, heldout):
    return Asked(train, heldout, clocks(), QUICK, 5.0, 0.8, 0, "cpu")


def test_what_was_trained_on_is_no_floor(data):
    copies, mixed = data.train[:30], np.concatenate([data.train, data.heldout[:20]])
    for heldout, floor in ((data.train, None), (mixed, "0 of 20")):
        with plt.style.context(STYLE):
            part = samples.samples_part(asked_of(data.train, heldout), copies, "hand", "")
        found = Report({"samples": part, "images": Part("")}, {})
        assert found.numbers["memorized"].value == 1
        assert not any("Nothing now" in text for text in found.answers["What to do?"])
        assert ("floor" in found.numbers) == (floor is not None)
        if floor:
            assert found.numbers["floor"].text.startswith(floor)
            assert found.numbers["above_floor"].value == 1


def test_samples_that_begin_below_the_data_are_said_to_say_nothing(data):
    """A sampler's 80 hides images of [-1, 1], and none of twelve bits."""
    for train, wrong in ((data.train, False), ((data.train + 1) * 2047.5, True)):
        part = Part("")
        with plt.style.context(STYLE):
            _samples(asked_of(train, None), geomem.GaussianDenoiser(train, device="cpu"), part)
        assert any("begin at sigma 80" in text for text in part.warnings) == wrong


def test_a_check_by_a_last_name_is_of_every_model(report):
    numbers = report.numbers
    assert "rate_peak" not in numbers and numbers["smooth/rate_peak"].value < 0.3
    assert report.holds("rate_peak < 1.01") and not report.holds("rate_peak < 0.3")


def test_each_clock_is_read_once():
    names = [of.name for of in clocks()]
    for given in (Schedule.ddpm("cosine"), Schedule.flow(), Schedule.edm().between(0.01, 50)):
        assert sorted(of.name for of in clocks(given)) == sorted(names)
    assert clocks(Schedule.ddpm("cosine"))[0].name == Schedule.ddpm("cosine").name
    assert len(clocks(Schedule.ddpm("scaled_linear"))) == len(names) + 1


def test_a_clock_of_few_levels_is_another_one():
    """A noise schedule that ends below sigma = 10, or begins above 0.1."""
    steps = np.cumprod(1 - np.linspace(1e-4, 0.02, 300))
    for alphas in (steps, np.linspace(0.97, 0.01, 100)):
        given = Schedule.ddpm(alphas)
        assert clocks(given)[0] is given and len(clocks(given)) == len(clocks()) + 1


def test_half_precision_has_the_spread_of_its_images(rng):
    """A sum of squares in float16 overflows from 66,000 on."""
    images = rng.uniform(-1, 1, (200, 3, 32, 32)).astype(np.float16)
    asked = SimpleNamespace(train=images, depth=QUICK)
    single = SimpleNamespace(train=images.astype(np.float32), depth=QUICK)
    np.testing.assert_allclose(levels_for(asked, [len]), levels_for(single, [len]), rtol=1e-3)


def test_the_worst_copies_are_shown_as_they_look(data, monkeypatch):
    """Whatever their range is: a sheet is drawn of values in [-1, 1]."""
    drawn = []

    def image_grid(rows, *rest, **how):
        drawn.append(dict(rows))
        return drawing.image_grid(rows, *rest, **how)

    watched = SimpleNamespace(**{**vars(drawing), "image_grid": image_grid})
    monkeypatch.setattr(samples, "drawing", watched)
    bytes_of = np.round((data.train + 1) * 127.5).astype(np.uint8)
    deep = ((data.train + 1) * 2047.5).astype(np.float32)  # of twelve bits
    for train in (data.train, (data.train + 1) / 2, bytes_of, deep):
        asked = SimpleNamespace(train=train, distinct=DistinctImages(train, "cpu"))
        with plt.style.context(STYLE):
            near = neighbours(train[:9], asked.distinct)
            samples._sheet(asked, train[:9], near, Part("", ""))
    first, *others = drawn
    for other in others:
        for name, images in first.items():
            np.testing.assert_allclose(other[name], images, atol=1 / 127)


def test_a_model_is_what_denoiser_takes(data):
    net = torch.nn.Linear(8, 8)
    with pytest.raises(InputError, match="Linear alone does not say"):
        geomem.audit(data, model=net, quiet=True)


def test_a_report_reads_as_its_answers(report):
    assert all(line in repr(report) for lines in report.answers.values() for line in lines)
    assert len(repr(report)) < 3000


def test_near_twins_do_not_hide_copies_or_move_the_zone(data, report):
    rng = np.random.default_rng(0)
    twins = data.train + 0.01 * rng.standard_normal(data.train.shape).astype(np.float32)
    both = np.concatenate([data.train, twins])
    between = (data.train + twins)[:30] / 2
    found = geomem.audit(both, data.heldout, samples=between, quiet=True)
    assert found.numbers["memorized"].value < 0.1 and found.numbers["memorized_merged"].value == 1
    assert found.numbers["above_floor"].value == 1
    says = found.answers
    said = says["Does it memorize?"][0]
    assert "not beyond chance above the floor" in said and "one image 30 of 30" in said
    assert ", above the floor, 0 of 60" in said
    assert not says["What to do?"][0].startswith("Nothing now")
    ends = [found.numbers[name].value for name in ("zone_from", "zone_to")]
    alone = [report.numbers[name].value for name in ("zone_from", "zone_to")]
    assert ends == pytest.approx(alone, rel=0.02)


def test_an_image_that_is_there_often_counts_once(data):
    """Else repeats make intervals narrow: of membership, of a rate, and of the floor."""
    few, new = data.train[:20], data.heldout[:24]
    one, many = (
        geomem.audit(np.tile(few, tile), np.tile(new, tile), samples=new[:2], quiet=True,
                     model=geomem.EmpiricalDenoiser(few, device="cpu"))
        for tile in ((1, 1, 1, 1), (4, 1, 1, 1))
    )  # fmt: skip
    names = ["membership", "membership_caught", "rate_peak", "floor", "zone_from", "heldout_loss"]
    for name in names:
        assert many.numbers[name].text == one.numbers[name].text
    with pytest.raises(InputError, match="of 76 held-out images only 19 are no repeats"):
        geomem.audit(few, np.tile(new[:19], (4, 1, 1, 1)), quiet=True)


@pytest.mark.parametrize("check", ["memorized", "memorized << 1", "memorised < 1", "zone_from < x"])
def test_a_check_that_is_none_is_refused(report, check):
    with pytest.raises(InputError, match="check"):
        report.holds(check)


def test_a_number_is_what_is_written_into_the_json(report):
    kept = json.loads(report.json)["parts"]["images"]["numbers"]["zone_from"]
    assert kept["value"] == report.numbers["zone_from"].value
    assert kept["low"] < kept["value"] < kept["high"]
    counted = Part("").number("images", 12_345, "count", "training images")
    assert (counted.value, counted.text) == (12_345, "12,345")


def test_parts_come_back_as_they_were_kept(report, tmp_path):
    part = report.parts["samples"]
    part.save(tmp_path / "part.json")
    assert repr(Part.load(tmp_path / "part.json", part.key)) == repr(part)
    assert Part.load(tmp_path / "part.json", "another") is None


@pytest.fixture
def folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, images in (("train", data.train), ("new", data.heldout), ("drawn", data.train[:30])):
        np.save(f"{name}.npy", images)
    torch.save({}, "pickle.pt")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "model_index.json").write_text('{"unet": ["diff')
    return tmp_path


def test_two_audits_do_not_write_into_one_folder(data, tmp_path):
    (tmp_path / auditing.PARTS).mkdir()
    refused = pytest.raises(InputError, match="another one writes in")
    with FileLock(tmp_path / auditing.PARTS / "lock"), refused:
        geomem.audit(data, out=tmp_path, quiet=True)


def test_the_verb_writes_a_report_and_its_checks_are_exit_codes(folder, capsys):
    given = ["audit", "train.npy", "--heldout", "new.npy", "--samples", "drawn.npy", "--out", "out"]
    main([*given, "--check", "memorized > 0.5"])
    said = capsys.readouterr().out
    assert "Does it memorize?" in said and "memorized > 0.5: holds" in said
    assert (folder / "out" / "report.html").is_file()
    with pytest.raises(SystemExit) as stopped:
        main([*given, "--check", "memorized < 0.01"])
    assert stopped.value.code == 1
    said = capsys.readouterr().out
    assert "images: kept from before" in said and "about" not in said


def test_samples_may_reach_beyond_the_range_of_the_images(folder, data, capsys):
    rng = np.random.default_rng(0)
    drawn = data.train[:30] + 0.05 * rng.standard_normal(data.train[:30].shape)
    np.savez("beyond.npz", drawn)
    np.save("train.npy", np.rint(127.5 * (data.train + 1)).astype(np.uint8))
    main(["audit", "train.npy", "--samples", "beyond.npz", "--check", "memorized > 0.9"])
    assert "30 samples of beyond.npz: values of -1.1" in capsys.readouterr().out
    np.save("beyond.npy", (drawn + 1) / 2)
    with pytest.raises(SystemExit):
        main(["audit", "train.npy", "--samples", "beyond.npy"])
    assert "several ranges" in capsys.readouterr().err


def test_a_range_of_many_bits_is_not_laid_on_bytes(folder, data):
    """Copies are found whichever of images and samples are bytes."""
    shares = (data.train + 1) / 2
    deep, eight = (4095 * shares).astype(np.uint16), np.rint(255 * shares).astype(np.uint8)
    np.save("deep.npy", deep)
    np.savez("eight.npz", images=eight)
    given = ["--range", "0", "4095", "--check", "memorized > 0.9"]
    for images, drawn in (("deep", "deep"), ("deep", "eight"), ("eight", "deep")):
        names = {"deep": "deep.npy", "eight": "eight.npz"}
        main(["audit", names[images], "--samples", names[drawn], *given])


@pytest.mark.parametrize(
    "given",
    [
        ["train.npy", "--model", "nowhere.py:denoise"],
        ["train.npy", "--model", "pickle.pt"],
        ["train.npy", "--model", "broken.py:denoise"],
        ["train.npy", "--model", "cut"],
        ["train.npy", "--samples", "nowhere.npy"],
        ["train.npy", "--range", "low", "high"],
        ["train.npy", "--out", "."],
        ["nowhere"],
    ],
)
def test_what_cannot_be_is_one_line(folder, capsys, given):
    with pytest.raises(SystemExit) as stopped:
        main(["audit", *given])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


class Wrapped(torch.nn.Module):
    """A network whose weights do not say what it answers."""

    def __init__(self, answer, **ends):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer = answer
        vars(self).update(ends)

    def forward(self, x, sigma):
        return self.answer(x, sigma)


def test_a_model_is_known_by_what_it_answers_not_by_its_weights(data, models, begun):
    found = [
        geomem.audit(data, model=Wrapped(models[name]), out=begun, quiet=True)
        for name in ("smooth", "copier")
    ]
    assert found[0].numbers["memorized"].value < 0.3 < found[1].numbers["memorized"].value


def test_a_model_is_known_at_every_level_that_it_is_asked_for(data, models, monkeypatch):
    """One that differs at one of these, or is sampled at others, is another model."""
    smooth, heldout = models["smooth"], data.heldout
    asked = Asked(data.train, heldout, clocks(), QUICK, 5.0, 0.8, 0, "cpu")
    levels, way = levels_for(asked, [smooth]), levels_of(smooth)
    monkeypatch.setattr(auditing, "_geometry_seconds", lambda asked: 0.0)

    def key(denoise):
        return auditing._steps(asked, {"": denoise}, None, "")[-1][2]

    swapped = {
        key(lambda x, sigma, at=at: 0 * x if sigma == at else smooth(x, sigma))
        for at in (*levels[[0, 1, 7, -1]].tolist(), *way[[0, 1, 9, -1]].tolist())
    }
    assert len(swapped) == 8 and key(smooth) == key(smooth) not in swapped
    still = [Wrapped(lambda x, sigma: 0 * x, sigma_min=least).eval() for least in (0.002, 0.003)]
    assert key(still[0]) != key(still[1])


def test_of_what_is_no_denoiser_nothing_is_cleared(data, models, report, begun):
    noise = Wrapped(lambda x, sigma: (x - models["smooth"](x, sigma)) / sigma)
    found = geomem.audit(data, model=noise, samples=data.train[:30], out=begun, quiet=True)
    (warning,) = found.parts["model"].warnings
    first, second, *_ = repr(found).splitlines()
    assert "wrong" in first and warning in second and warning in found.html
    for check in ("memorized < 1.1", "model/memorized < 0.01", "rate_peak < 1.1"):
        with pytest.raises(InputError, match=r"not known .* predicts the noise"):
            found.holds(check)
    assert found.holds("zone_from > 0"), "the images are what they are"
    alone = replace(found, parts={k: p for k, p in found.parts.items() if k != "samples"})
    assert not alone.numbers["above_floor"].value
    assert not any("Nothing now" in line for line in alone.answers["What to do?"])
    assert not report.answers["What is probably wrong?"] and "wrong" not in repr(report)


def test_where_there_is_no_zone_that_is_the_answer():
    part = Part("The images", said=["Of 48 images none repeats."], warnings=["Mixed.", "No zone."])
    gap = Part("The gap", said=["In training, weigh."])
    found = Report({"images": part, "gap": gap}, {})
    assert found.answers["At which noise levels?"] == ["No zone."]


def test_a_model_of_another_range_is_warned_of_and_its_audit_ends(data, begun):
    """It copies, on [0, 1]: images of [-1, 1] are nothing to it."""
    copier = geomem.EmpiricalDenoiser((data.train + 1) / 2, device="cpu")
    found = geomem.audit(data, model=copier, out=begun, quiet=True)
    assert any("[0, 1]" in text for text in found.parts["model"].warnings)
    with pytest.raises(InputError, match="bring them to one range"):
        geomem.audit(data, samples=(data.train[:30] + 1) / 2, quiet=True)


def test_losses_are_compared_at_the_same_noise_levels(data, models, begun):
    narrow = Wrapped(models["smooth"], sigma_min=0.1, sigma_max=5.0)
    pair = {"all levels": models["smooth"], "some": narrow}
    numbers = geomem.audit(data, model=pair, out=begun, quiet=True).numbers
    losses = [numbers[f"{name}/heldout_loss"].value for name in pair]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    apart = {"low": Wrapped(models["smooth"], sigma_max=0.1), "high": narrow}
    with pytest.raises(InputError, match="no noise levels"):
        geomem.audit(data, model=apart, quiet=True)


def test_where_there_is_no_gap_that_is_said(data):
    found = geomem.audit(data.train, data.train, quiet=True)  # coverage is everywhere
    assert "training images" in found.parts["images"].warnings[0]
    assert found.answers["What to do?"][0].startswith("No gap")
    with pytest.raises(InputError, match="no gap"):
        _ = found.gap


def test_names_that_are_one_file_are_refused(data, models):
    with pytest.raises(InputError, match="names"):
        geomem.audit(data, model={"a/b": models["smooth"], "a-b": models["smooth"]}, quiet=True)


def test_a_models_file_finds_its_neighbours_and_its_path_stays_private(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.path", [*sys.path])
    for name, text in {
        "one/my.py": "def denoise(x, sigma):\n    return 0 * x\n",
        "two/my.py": "from shrinks import denoise\n",
        "two/shrinks.py": "def denoise(x, sigma):\n    return x / (1 + sigma**2)\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    both = [f"{folder}/{where}/my.py:denoise" for where in ("one", "two")]
    main(["audit", "train.npy", "--model", both[0], "--model", both[1], "--out", "out"])
    capsys.readouterr()
    texts = [path.read_text() for path in (folder / "out").glob("report.*")]
    assert all("two/my.py" in text and str(folder) not in text for text in texts)


@pytest.mark.parametrize(
    "given",
    [
        {"train": "digits"},
        {"samples": np.empty((0, 1, 8, 8))},
        {"seed": -1},
        {"level": 0.0},
        {"c": float("nan")},
        {"train": np.zeros((30, 1, 8, 8)) + np.arange(30).reshape(-1, 1, 1, 1) % 3},
    ],
)
def test_what_an_audit_cannot_be_of_is_one_line(data, given):
    with pytest.raises(InputError) as refused:
        geomem.audit(**{"train": data.train, **given}, quiet=True)
    assert "\n" not in str(refused.value)


def test_images_are_taken_in_any_ordinary_form_and_no_other(data, monkeypatch):
    class Enough(Exception):
        pass

    taken = []

    def steps(asked, *others):
        taken.append(asked.train)
        raise Enough

    monkeypatch.setattr(auditing, "_steps", steps)
    images = data.train.astype(np.float64)  # eighths: no form of them is rounded
    for form, change in FORMS.items():
        with pytest.raises(Enough):
            geomem.audit(change(images), change(images), samples=change(images), quiet=True)
        np.testing.assert_array_equal(torch.as_tensor(taken[-1]), images, err_msg=form)
    for what, (spoil, message) in NONSENSE.items():
        with pytest.raises(ValueError, match=message) as refused:
            geomem.audit(spoil(images), quiet=True)
        assert "\n" not in str(refused.value), what

"""Live figures with networks: what the page computes and shows is what geomem does."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, troubles

import geomem
from geomem import DistinctImages, EDMDenoiser, ModelConfig
from geomem.companion import live_figures
from geomem.companion.live import attach_live
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import percent
from geomem.geometry.window import Window
from geomem.memorization.ratio_test import near
from geomem.memorization.side_by_side import SideBySide
from geomem.memorization.switch import Switch

LIVE = ROOT / "book" / "_assets" / "live"
IMAGES = {"mean": -0.2, "sigma_data": 0.6}
CONFIGS = {
    "mlp": ModelConfig("mlp", width=24, blocks=2, channels=1, size=4, **IMAGES),
    "patches and attention": ModelConfig(
        width=16, patch=2, attention=(4,), channels=3, size=16, **IMAGES
    ),
    "three levels, two blocks": ModelConfig(
        width=8, multipliers=(2, 1, 3), blocks=2, attention=(8,), channels=1, size=8, **IMAGES
    ),
}
SIGMAS = (0.002, 0.05, 0.7, 5.0, 80.0)
# The page of a live figure, as the book has it, without the book around it.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>Live</title>
<link rel="stylesheet" href="live.css"><div class="live"><div class="live-stage" data-live="{name}">
</div></div>{scripts}</html>"""


def trained(config, seed=0):
    """A network whose every weight matters, as those do that training has moved from zero."""
    torch.manual_seed(seed)
    network = EDMDenoiser(config).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.add_(0.05 * torch.randn_like(weight))
    return network


@pytest.fixture
def opened(browser, tmp_path, monkeypatch):
    """Opens a page with scripts and data from the disk; in the end nothing has failed."""
    monkeypatch.chdir(tmp_path)
    contexts, found = [], []

    def opened(name, *scripts, hash="", width=1000):
        for asset in LIVE.iterdir():
            shutil.copy(asset, tmp_path / "figures")
        tags = [f'<script src="{script}"></script>' for script in ("frame.js", *scripts)]
        place = tmp_path / "figures" / "page.html"
        place.write_text(PAGE.format(name=name, scripts="\n".join(tags)))
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        found.append(troubles(page))
        page.goto(place.as_uri() + hash, wait_until="load")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not any(found), found


# The networks

ASKED = """async ([cases]) => {
    const ask = geomem.networks(geomem.live.unpacked(geomem.data.some));
    const all = cases.map(([name, x, sigma]) => ask(name, Float32Array.from(x), sigma));
    return (await Promise.all(all)).map((answer) => [...answer]);
}"""


def test_networks_of_every_kind_answer_as_torch_does(opened):
    """With all weights to 1e-4, with weights in half precision as torch does with those."""
    models = {name: trained(config) for name, config in CONFIGS.items()}
    rounded = {name: live_figures.halved(model) for name, model in models.items()}
    handed = {name: live_figures.network(of, "float32") for name, of in models.items()}
    handed |= {f"{name}, half": live_figures.network(of) for name, of in models.items()}
    attach_live("some", **handed)
    models |= {f"{name}, half": of for name, of in rounded.items()}
    cases, expected = [], []
    for name, model in models.items():
        for seed, sigma in enumerate(SIGMAS):
            shape = (1, model.config.channels, model.config.size, model.config.size)
            x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            x = x * (sigma**2 + 0.6**2) ** 0.5
            cases.append((name, x.flatten().tolist(), sigma))
            expected.append(model(x, sigma).flatten().numpy())
    page = opened("none", "live-some.js", "network.js")
    found = page.evaluate(ASKED, [cases])
    for case, ours, theirs in zip(cases, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=f"{case[0]}, {case[2]}")


def test_half_precision_rounds_weights_and_nothing_else():
    model = trained(CONFIGS["mlp"])
    rounded = live_figures.halved(model)
    for (name, weight), other in zip(
        model.state_dict().items(), rounded.state_dict().values(), strict=True
    ):
        assert torch.equal(other, weight.half().float()), name
    ours, theirs = (of.network.embedding.frequencies for of in (model, rounded))
    assert torch.equal(ours, theirs)
    assert np.array_equal(
        live_figures.network(model)["weights"], live_figures.network(rounded)["weights"]
    )


def test_a_network_with_classes_is_refused():
    with pytest.raises(ValueError, match="classes"):
        live_figures.network(EDMDenoiser(replace(CONFIGS["mlp"], n_classes=2)))


# One image through all denoisers


@pytest.fixture(scope="module")
def beside():
    rng = np.random.default_rng(3)
    images = rng.uniform(-1, 1, (12, 1, 4, 4)).astype(np.float32)
    train = DistinctImages(images[[0, 0, *range(1, 12)]], "cpu")  # one is there twice
    small, large = (trained(CONFIGS["mlp"], seed) for seed in (0, 1))
    small, large = live_figures.halved(small), live_figures.halved(large)
    return SideBySide.of(train, small, large, draws=3, seed=5)


@pytest.fixture(scope="module")
def heldout():
    return np.random.default_rng(4).uniform(-1, 1, (5, 1, 4, 4)).astype(np.float32)


def curve(mean):
    sigma, mean = np.geomspace(0.01, 20, len(mean)), np.asarray(mean, float)
    return Curve(sigma, mean, mean, mean, 2, np.stack([mean, mean]))


def attach(beside, heldout, **changes):
    names = ("coverage C", "concentration W", "small model", "large model")
    shares = ([0, 0.5, 1], [1, 0.5, 0], [0, 0.4, 0], [0, 0, 0])
    options = {"zone": Window(0.3, 1.0), "n": {"small": 12, "large": 4000}, "sigma": 0.5} | changes
    curves = dict(zip(names, map(curve, shares), strict=True))
    live_figures.attach_denoisers(beside, heldout, curves, **options)


@pytest.fixture
def denoisers(opened, beside, heldout, tmp_path):
    attach(beside, heldout)

    def opened_denoisers(**options):
        scripts = ("pictures.js", "live-denoisers.js", "denoisers.js")
        page = opened("denoisers", *scripts, **options)
        page.wait_for_selector(".live-stage[data-answered]")
        return page

    return opened_denoisers


COMPUTED = """(x) => {
    const data = geomem.live.unpacked(geomem.data.denoisers), of = geomem.denoisers;
    return [0.01, 0.3, 2, 20].map((sigma) => {
        const weights = of.posterior(of.squares(x, data.train), sigma);
        return {weights: [...weights], empirical: [...of.empirical(x, weights, data.train)],
                gaussian: [...of.gaussian(x, sigma, data)], test: of.ratioTest(x, data.train)};
    });
}"""


def test_the_page_computes_what_geomem_does(denoisers, beside, rng):
    train = np.asarray(beside.train.images)
    page = denoisers()
    for x in rng.normal(size=(3, 1, 1, 4, 4)):
        found = page.evaluate(COMPUTED, x.ravel().tolist())
        found_near = near(torch.from_numpy(x), beside.train)
        for sigma, ours in zip((0.01, 0.3, 2, 20), found, strict=True):
            weights = geomem.posterior_weights(x, train, sigma)[0]
            np.testing.assert_allclose(ours["weights"], weights, atol=1e-12)
            expected = geomem.empirical_denoiser(x, train, sigma)
            np.testing.assert_allclose(ours["empirical"], expected.ravel(), atol=1e-12)
            expected = geomem.gaussian_denoiser(x, train, sigma)
            np.testing.assert_allclose(ours["gaussian"], expected.ravel(), atol=1e-5)
            assert ours["test"]["ratio"] == pytest.approx(found_near.ratio[0], abs=1e-12)
            assert beside.train.index[ours["test"]["nearest"]] == found_near.index[0]
            assert ours["test"]["copy"] == found_near.memorized()[0]


def test_a_share_is_written_as_in_the_book(denoisers):
    shares = [0.0625, 0.125, 0.135]  # midway between two
    shares += [0, 1e-5, 0.003, 0.00717, 0.063, 0.0994, 0.0996, 0.5, 0.8163, 0.9968, 0.99987]
    shares += [1 - 1e-9, 1]
    shares += [0.575, 0.545, 0.0115, 0.99125]  # nearly midway, and midway near 1
    written = denoisers().evaluate("(shares) => shares.map(geomem.live.percent)", shares)
    assert [text.replace("0.0010%", "0.001%") for text in written] == [*map(percent, shares)]
    levels = denoisers().evaluate("() => [0.05, 3.14159, 99.6, 1000].map(geomem.live.digits)")
    assert levels == ["0.05", "3.1", "100", "1000"]


def captions(page):
    """What stands below the answers: empirical, Gaussian, small, large."""
    return page.locator(".denoisers .column figure:nth-of-type(1) figcaption").all_inner_texts()[2:]


def expected_captions(beside, image, sigma, draw):
    answers = beside.answers(image, np.array([sigma]), draw)
    found = [near(torch.from_numpy(of), beside.train) for of in answers.values()]
    return [
        f"{'copy' if one.memorized()[0] else 'no copy'}, ratio {one.ratio[0]:.2f}" for one in found
    ]


def test_by_keyboard_it_answers_as_the_run_does(denoisers, beside, heldout):
    page = denoisers()
    assert captions(page) == expected_captions(beside, heldout[0], 0.5, 0)
    page.focus("#live-denoisers-image")
    for _ in range(6):  # over the held-out images to the second training image
        page.keyboard.press("ArrowRight")
    page.focus("#live-denoisers-noise")
    page.keyboard.press("ArrowRight")
    page.focus("#live-denoisers-sigma")
    page.keyboard.press("Home")
    page.wait_for_selector('.live-stage[data-answered="6,1,0.01000"]')
    image = np.asarray(beside.train.images)[1]
    assert captions(page) == expected_captions(beside, image, 0.01, 1)
    assert "training 3" in page.inner_text(".denoisers") and captions(page)[0] == "copy, ratio 0.00"
    parts = ["image=6", "noise=1", "sigma=0.01"]
    page.wait_for_function("all => all.every((one) => location.hash.includes(one))", arg=parts)
    again = denoisers(hash=page.evaluate("location.hash"))
    assert captions(again) == captions(page)


def test_weights_and_shells_stand_beside_it(denoisers, beside, heldout):
    page = denoisers(hash="#live=denoisers&sigma=0.9&image=3&noise=2")
    x = beside.noisy(heldout[3], np.array([0.9]), 2)
    weights = geomem.posterior_weights(x, np.asarray(beside.train.images), 0.9)[0]
    told = page.locator(".denoisers-top figcaption").all_inner_texts()
    weighed = [text.partition("\n")[0] for text in told]
    assert all(re.fullmatch(r"(below )?\d\.\d+", text) for text in weighed), weighed
    assert [float(text.removeprefix("below ")) for text in weighed] == pytest.approx(
        sorted(weights, reverse=True)[:10], abs=6e-3
    )
    away = np.linalg.norm((np.asarray(beside.train.images) - x).reshape(12, -1), axis=1) / 0.9
    low, high = geomem.shell_radii(16)
    inside = (low <= away) & (away <= high)
    assert f"{inside.sum()} of 12 shells" in page.inner_text(".live-line")
    assert "large model, N = 4,000" in page.inner_text(".denoisers")
    order = np.argsort(-weights)[:10]
    assert ["shell" in text for text in told] == inside[order].tolist()


def test_on_a_narrow_screen_nothing_is_cut_off(denoisers):
    page = denoisers(width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_too_heavy_for_a_page_is_said(opened, beside, heldout, monkeypatch):
    monkeypatch.setattr(live_figures, "MOST", 1000)
    attach(beside, heldout)
    page = opened("denoisers", "pictures.js", "live-denoisers.js", "denoisers.js")
    assert "MB" in page.inner_text(".live-stage")


def test_networks_that_do_not_load_are_said_to_be_missing(opened, beside, heldout, tmp_path):
    attach(beside, heldout)
    full = "geomem.networks = () => { throw Error('no memory'); };"
    (tmp_path / "figures" / "live-denoisers-networks.js").write_text(full)
    page = opened("denoisers", "pictures.js", "live-denoisers.js", "denoisers.js")
    page.wait_for_function(
        "document.querySelector('.live-words').textContent.includes('did not load')"
    )
    assert captions(page)[2:] == ["did not load"] * 2 and "ratio" in captions(page)[0]


def test_networks_of_another_build_are_not_shown_as_those_of_the_page(
    opened, beside, heldout, tmp_path
):
    attach(beside, heldout)
    file = tmp_path / "figures" / "live-denoisers-networks.js"
    (version,) = re.findall(r'"version": ?"(\w+)"', file.read_text())
    file.write_text(file.read_text().replace(version, "another"))
    page = opened("denoisers", "pictures.js", "live-denoisers.js", "denoisers.js")
    page.wait_for_function(
        "document.querySelector('.live-words').textContent.includes('did not load')"
    )


def test_half_precision_changes_what_it_is_said_to(beside, heldout):
    sigmas = np.array([0.1, 1.0])
    assert live_figures.rounding(beside, heldout[0], sigmas) == 0  # rounded already
    whole = trained(CONFIGS["mlp"])
    moved = replace(beside, networks={"small": whole, "large": whole})
    x = torch.from_numpy(beside.noisy(heldout[0], sigmas))
    apart = whole(x, torch.tensor(sigmas)) - live_figures.halved(whole)(x, torch.tensor(sigmas))
    found = live_figures.rounding(moved, heldout[0], sigmas)
    assert found == pytest.approx(float(apart.abs().max()), abs=1e-6) and 1e-5 < found < 0.01


def test_the_first_image_that_is_copied(beside):
    asis = replace(beside, networks={"small": lambda x, sigma: x})
    far = np.full((2, 1, 4, 4), 50.0, np.float32)
    one = np.concatenate([far, np.asarray(beside.train.images)[:1]])
    assert asis.first_copied(one, 1e-6) == (2, 0) and asis.first_copied(far, 1e-6) == (0, 0)
    later = one - 5 * beside.noise[1]  # only by the second draw is it a training image again
    assert asis.first_copied(later, 5.0) == (2, 1)


# The switch


@pytest.fixture
def switch(beside):
    """The closed denoiser of a training set, and one of other images, which copies none of it."""
    others = np.random.default_rng(8).uniform(-1, 1, (6, 1, 4, 4))
    train = np.asarray(beside.train.images)

    def of(images):
        return lambda x, sigma: geomem.empirical_denoiser(x, images, sigma)

    return Switch.of(of(train), of(others), beside.train, 9, solver="euler", device="cpu")


def test_a_switch_keeps_its_first_samples(switch, beside):
    """Those of one denoiser alone at both ends; what passes is what was counted."""
    assert {len(shown) for shown in switch.shown.values()} == {len(switch.sigma) + 2}
    for base, other in (("small", "large"), ("large", "small")):
        shown = switch.shown[base]
        rows = [switch.alone[other], *switch.passed[base], switch.alone[base]]
        for images, passed in zip(shown, rows, strict=True):
            found = near(torch.from_numpy(images), beside.train).memorized()
            assert found.tolist() == passed[:8].tolist()
        np.testing.assert_array_equal(shown[0], switch.shown[other][-1])


def test_the_switch_by_keyboard(opened, switch, beside):
    live_figures.attach_switch(switch, beside.train, None)
    page = opened("switch", "pictures.js", "live-switch.js", "switch.js")
    page.wait_for_selector(".live-words:not(:empty)")

    def copies(shown):
        given = page.locator(".switch .column figure:nth-of-type(1) figcaption").all_inner_texts()
        framed = page.locator(".switch .column figure:nth-of-type(1).copy").count()
        assert framed == sum(text.startswith("copy") for text in given)
        originals = page.locator(".switch .column figure:nth-of-type(2):visible figcaption")
        index = near(torch.from_numpy(shown), beside.train)
        expected = [f"of training {i + 1}" for i in index.index[index.memorized()]]
        assert originals.all_inner_texts() == expected
        return [text.startswith("copy") for text in given]

    for base, other in (("small", "large"), ("large", "small")):
        page.get_by_role("button", name=f"{base} model first").click()
        page.focus("#live-switch-level")
        page.keyboard.press("Home")  # never: it answers alone
        rows = [switch.alone[base], *switch.passed[base][::-1], switch.alone[other]]
        for row, shown in zip(rows, switch.shown[base][::-1], strict=True):
            page.evaluate("new Promise(requestAnimationFrame)")
            assert copies(shown) == row[:8].tolist()
            page.keyboard.press("ArrowRight")
    page.wait_for_function("location.hash.includes('first=1')")


def test_what_is_only_shown_is_shrunk(rng):
    images = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 64, 64)))
    shown = live_figures._pixels(images)
    mean = images.reshape(2, 3, 32, 2, 32, 2).mean((3, 5)).flatten(1).numpy()
    np.testing.assert_allclose(shown / 127.5 - 1, mean, atol=1 / 255 + 1e-9)

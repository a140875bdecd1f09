/* One image through all denoisers: a noisy image, and what the empirical and the Gaussian denoiser
   and two networks answer to it, all computed here. Distances and posterior in double precision. */
(function () {
  "use strict";
  const { tile, chart, between, count, percent, digits } = geomem.live;
  const { href, search } = new URL(document.currentScript.src); // where the scripts lie
  const HERE = href.slice(0, href.length - search.length).replace(/[^/]*$/, "");
  const SHOWN = 10; // training images with the largest weights
  const NETWORKS = ["small", "large"], ALL = ["empirical", "Gaussian", ...NETWORKS];

  // The denoisers without a network, of images x of d pixels and a training set of n d pixels

  const row = (images, i, d) => images.subarray(i * d, (i + 1) * d);

  /** Squared distances from all training images. */
  function squares(x, train) {
    const d = x.length;
    return Float64Array.from({ length: train.length / d }, (_, i) => {
      let sum = 0;
      for (let p = 0; p < d; p++) sum += (x[p] - train[i * d + p]) ** 2;
      return sum;
    });
  }

  function posterior(found, sigma) {
    const least = found.reduce((a, b) => Math.min(a, b));
    const weights = found.map((one) => Math.exp((least - one) / (2 * sigma ** 2)));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((one) => one / total);
  }

  function empirical(x, weights, train) {
    const mean = new Float64Array(x.length);
    weights.forEach((weight, i) => {
      if (weight) for (let p = 0; p < x.length; p++) mean[p] += weight * train[i * x.length + p];
    });
    return mean;
  }

  /** By the principal axes of the training set and the variances along them. */
  function gaussian(x, sigma, { centre, axes, variances }) {
    const answer = Float64Array.from(centre);
    variances.forEach((variance, k) => {
      const axis = row(axes, k, x.length);
      let along = 0;
      for (let p = 0; p < x.length; p++) along += (x[p] - centre[p]) * axis[p];
      along *= variance / (variance + sigma ** 2);
      for (let p = 0; p < x.length; p++) answer[p] += along * axis[p];
    });
    return answer;
  }

  /** The two nearest training images of an answer, whose distances the ratio test compares. */
  function ratioTest(answer, train) {
    let first = Infinity, second = Infinity, nearest = -1;
    squares(answer, train).forEach((one, i) => {
      if (one < first) [second, first, nearest] = [first, one, i];
      else if (one < second) second = one;
    });
    const ratio = Math.sqrt(first / second);
    return { ratio, nearest, copy: ratio < 1 / 3 };
  }

  // The networks, which are loaded when the figure comes into sight

  function loaded(file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      Object.assign(script, { src: HERE + file, onload: resolve, onerror: reject });
      document.head.append(script);
    });
  }

  /** Not those of another build, which a browser may still keep. */
  async function models(scripts, version) {
    await loaded(`network.js?v=${scripts}`);
    await loaded(`live-denoisers-networks.js?v=${version}`);
    const found = geomem.live.unpacked(geomem.data["denoisers-networks"]);
    if (found.version !== version) throw Error("networks of another build"); // the page is older
    return geomem.networks(found.networks);
  }

  function inSight(element) {
    return new Promise((resolve) => {
      const seen = (entries, observer) => {
        if (entries.some((one) => one.isIntersecting)) resolve(observer.disconnect());
      };
      new IntersectionObserver(seen, { rootMargin: "200px" }).observe(element);
    });
  }

  /** Asks both networks about the newest input; inputs that came in between are left out. */
  function following(show) {
    let newest = null, busy = false, ask = null;
    async function go() {
      if (busy || !ask || !newest) return;
      const input = newest;
      [busy, newest] = [true, null];
      show(input, await Promise.all(NETWORKS.map((name) => ask(name, input.x, input.sigma))));
      busy = false;
      go();
    }
    return {
      about(input) { newest = input; go(); },
      by(models) { ask = models; go(); },
    };
  }

  // The picture

  /** What answers; a network by its number of training images. */
  const titled = (name, n) => (name in n ? `${name} model, N = ${count(n[name])}` : name);
  const written = (weight) =>
    weight < 1e-4 ? "below 0.0001" : weight < 0.005 ? weight.toPrecision(1) : weight.toFixed(2);

  /** All that is drawn into, each in its place. */
  function laidOut(live) {
    const { data, html, stage } = live, empty = () => tile(live, data.shape);
    const column = (title, ...tiles) =>
      html("div", { class: "column" }, html("span", { class: "title" }, title), ...tiles.map((one) => one.element));
    const clean = empty(), noisy = empty(), shells = html("p", { class: "live-line" });
    const answers = Object.fromEntries(ALL.map((name) => [name, [empty(), empty()]]));
    const top = Array.from({ length: Math.min(SHOWN, data.train.shape[0]) }, empty);
    const choose = (sigma) => { live.state.sigma = sigma; live.changed(); };
    const curves = chart(live, { ...data, label: "noise level σ", choose });
    stage.append(
      html("div", { class: "denoisers" }, column("image", clean), column("with noise", noisy),
        ...ALL.map((name) => column(titled(name, data.n), ...answers[name]))),
      live.controls, live.words, live.said,
      shells, html("div", { class: "denoisers-top" }, ...top.map((one) => one.element)), curves.element);
    return { clean, noisy, answers, top, shells, curves };
  }

  function build(live) {
    const { data, stage } = live;
    if (data.heavy) {
      stage.append(`The networks and images of this run weigh ${data.heavy}, too much for a page. ` +
        "The book of the default profile has this figure.");
      return;
    }
    const { train, heldout, noise, shape } = data, d = shape[0] * shape[1] * shape[2];
    const n = train.shape[0], held = heldout.shape[0], last = held + n - 1, draws = noise.shape[0] - 1;
    const rounded = ({ sigma, image, noise: draw }) => ({
      sigma, image: Math.max(0, Math.min(last, Math.round(image))),
      noise: Math.max(0, Math.min(draws, Math.round(draw))),
    });
    const imageOf = (i) => (i < held ? row(heldout, i, d) : row(train, i - held, d));
    const numberOf = (i) => data.numbers[i] + 1; // in the training set, which may repeat images
    const nameOf = (i) => (i < held ? `held-out ${i + 1}` : `training ${numberOf(i - held)}`);
    live.begin(data.start, rounded);
    const { clean, noisy, answers, top, shells, curves } = laidOut(live);
    live.slider({ key: "sigma", label: "noise level <i>σ</i>", low: data.low, high: data.high, log: true, text: digits });
    live.slider({ key: "image", label: "image", low: 0, high: last, steps: last, text: (i) => nameOf(Math.round(i)) });
    live.slider({ key: "noise", label: "noise draw", low: 0, high: draws, steps: draws, text: (k) => String(Math.round(k)) });
    live.buttons();

    const copied = {};
    let loading = "";
    function answered(name, answer) {
      const { ratio, nearest, copy } = ratioTest(answer, train), [given, original] = answers[name];
      const said = `${copy ? "copy" : "no copy"}, ratio ${ratio.toFixed(2)}`;
      given.show(answer, { text: said, label: `answer of ${titled(name, data.n)}: ${said}`, copy });
      const of = copy ? "of training" : "nearest: training";
      original.show(row(train, nearest, d), { text: `${of} ${numberOf(nearest)}`, copy });
      original.element.classList.toggle("pale", !copy);
      copied[name] = copy;
    }

    let asked = null;
    const networks = following((input, found) => {
      if (input !== asked) return; // the reader has moved on
      NETWORKS.forEach((name, i) => answered(name, found[i]));
      stage.dataset.answered = input.key;
      speak(input);
    });

    function speak({ sigma, image, draw, weights, holding, best }) {
      const which = ALL.filter((name) => copied[name]).join(", ") || "none";
      const still = ALL.some((name) => !(name in copied)) ? ` (networks: ${loading})` : "";
      const shares = data.curves.map((curve) => `${curve.name} ${percent(between(curve, sigma))}`);
      live.say(`σ = ${digits(sigma)}, ${nameOf(image)} with noise draw ${draw}: training image ${numberOf(best)} has the largest ` +
        `posterior weight, ${weights[best].toFixed(2)}; ${holding} of ${count(n)} shells hold the noisy image. ` +
        `Copies by the ratio test: ${which}${still}. Measured at this level, of many images: ${shares.join("; ")}.`);
    }

    live.draw = () => {
      const { sigma, image, noise: draw } = rounded(live.state), z = row(noise, draw, d);
      const x = Float64Array.from(imageOf(image), (v, p) => v + sigma * z[p]);
      const found = squares(x, train), weights = posterior(found, sigma);
      const inside = Array.from(found, (one) => {
        const radius = Math.sqrt(one) / sigma;
        return radius >= data.radii[0] && radius <= data.radii[1];
      });
      const order = Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a]);
      const holding = inside.filter(Boolean).length;
      clean.show(imageOf(image), { text: nameOf(image) });
      noisy.show(x.map((v) => v / Math.max(1, sigma)), { text: `σ = ${digits(sigma)}`, label: "the same with noise" });
      answered("empirical", empirical(x, weights, train));
      answered("Gaussian", gaussian(x, sigma, data));
      top.forEach((one, k) => {
        const i = order[k], shell = inside[i] ? "in its shell" : "", weight = written(weights[i]);
        one.show(row(train, i, d), { text: `${weight}\n${shell}`, label: `training image ${numberOf(i)}: weight ${weight} ${shell}` });
        one.element.classList.toggle("pale", weights[i] < 0.005);
      });
      shells.textContent = `The ${top.length} training images with the largest posterior weights; ${holding} of ${count(n)} shells hold the noisy image:`;
      curves.show(sigma, percent);
      const input = { x, sigma, image, draw, weights, holding, best: order[0], key: `${image},${draw},${sigma.toPrecision(4)}` };
      asked = input;
      NETWORKS.forEach((name) => delete copied[name]);
      speak(input);
      networks.about(input);
    };

    function load(says) {
      for (const name of NETWORKS) answers[name][0].element.lastChild.textContent = says;
      loading = says;
      live.redraw();
    }
    load("being loaded");
    const ready = (models) => {
      loading = "computing";
      networks.by(models);
    };
    inSight(stage).then(() => models(stage.dataset.scripts, data.version)).then(ready, () => load("did not load"));
  }

  geomem.denoisers = { squares, posterior, empirical, gaussian, ratioTest };
  geomem.live("denoisers", build);
})();

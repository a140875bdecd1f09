/* What live figures with images share: tiles, and curves over the noise level. */
(function () {
  "use strict";
  const { set, pressed } = window.geomem.live;

  /** An image with a caption; show(pixels, {text, label, copy}) draws pixels of [-1, 1] into it.
      A copy has a double frame and says so. */
  function tile({ html }, [channels, height, width]) {
    const canvas = html("canvas", { width, height }), caption = html("figcaption");
    const element = html("figure", { class: "live-tile" }, canvas, caption), area = width * height;
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    /** Of latents the mean of their channels, over its own range, as in the still pictures. */
    function grey(pixels) {
      const mean = Float32Array.from({ length: area }, (_, p) => {
        let sum = 0;
        for (let m = 0; m < channels; m++) sum += pixels[m * area + p];
        return sum / channels;
      });
      const low = Math.min(...mean), high = Math.max(...mean);
      return mean.map((value) => (2 * (value - low)) / Math.max(high - low, 1e-12) - 1);
    }
    function show(values, { text = "", label = text, copy = false } = {}) {
      const pixels = channels === 1 || channels === 3 ? values : grey(values);
      for (let p = 0; p < area; p++) {
        for (let m = 0; m < 3; m++)
          image.data[4 * p + m] = 127.5 * (pixels[(channels === 3 ? m * area : 0) + p] + 1);
        image.data[4 * p + 3] = 255;
      }
      context.putImageData(image, 0, 0);
      set(canvas, { role: "img", "aria-label": label }); // an empty one is no image
      caption.textContent = text;
      element.classList.toggle("copy", copy);
    }
    return { element, show };
  }

  const LEFT = 34, RIGHT = 352, TOP = 8, BOTTOM = 128, WIDTH = 360, HEIGHT = 166;

  /** Curves of shares over the noise level from low to high, a line at one level, and a key that
      says their values there. Each curve: key, its class in the style sheet; name; sigma, mean.
      zone: the danger zone, or null. choose(sigma) is called where the picture is pressed. */
  function chart({ html, svg }, { low, high, label, curves, zone, choose }) {
    const along = (sigma) => {
      const share = Math.log(sigma / low) / Math.log(high / low);
      return LEFT + (RIGHT - LEFT) * Math.max(0, Math.min(1, share));
    };
    const up = (value) => BOTTOM - (BOTTOM - TOP) * value;
    const now = svg("path", { class: "now" });
    const dots = curves.map(({ key }) => svg("circle", { class: key, r: 4.5 }));
    const line = ({ key, sigma, mean }) => {
      const points = Array.from(sigma, (one, i) => [one, mean[i]]).filter(([one]) => one >= low && one <= high);
      return svg("path", { class: key, d: `M${points.map(([one, value]) => `${along(one)},${up(value)}`).join("L")}` });
    };
    const ticks = [0.001, 0.01, 0.1, 1, 10, 100].filter((one) => one >= low && one <= high);
    const middle = { "text-anchor": "middle" }, end = { "text-anchor": "end", x: LEFT - 5 };
    const shaded = zone
      ? [svg("rect", { class: "zone", x: along(zone[0]), y: TOP, width: along(zone[1]) - along(zone[0]), height: BOTTOM - TOP })]
      : [];
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "live-chart", "aria-hidden": "true" },
      ...shaded,
      svg("path", { class: "axis", d: `M${LEFT},${TOP}V${BOTTOM}H${RIGHT}` }),
      ...[0, 0.5, 1].map((one) => svg("text", { ...end, y: up(one) + 4 }, String(one))),
      ...ticks.map((one) => svg("text", { ...middle, x: along(one), y: BOTTOM + 15 }, String(one))),
      svg("text", { ...middle, x: (LEFT + RIGHT) / 2, y: BOTTOM + 32 }, label),
      ...curves.map(line), now, ...dots);
    const values = curves.map(() => html("span", { class: "value" }));
    const key = html("div", { class: "live-key" }, ...curves.map(({ key, name }, i) =>
      html("span", {}, svg("svg", { viewBox: "0 0 30 8", "aria-hidden": "true" }, svg("path", { class: key, d: "M0,4H30" })),
        name, " ", values[i])));
    pressed(picture, LEFT, RIGHT, (share) => choose(low * (high / low) ** share));
    return {
      element: html("div", { class: "live-curves" }, picture, key),
      show(sigma, text) {
        set(now, { d: `M${along(sigma)},${TOP}V${BOTTOM}` });
        curves.forEach((curve, i) => {
          const value = between(curve, sigma);
          set(dots[i], { cx: along(sigma), cy: up(value) });
          values[i].textContent = text(value);
        });
      },
    };
  }

  /** The value of a curve at a level: linear in log sigma between its own, ascending; flat beyond. */
  function between({ sigma, mean }, at) {
    const i = sigma.findIndex((one) => one >= at);
    if (i <= 0) return mean[i ? sigma.length - 1 : 0];
    if (sigma[i] === at) return mean[i];
    const share = Math.log(at / sigma[i - 1]) / Math.log(sigma[i] / sigma[i - 1]);
    return mean[i - 1] + share * (mean[i] - mean[i - 1]);
  }

  const count = (n) => n.toLocaleString("en"); // 1,000
  Object.assign(window.geomem.live, { tile, chart, between, count });
})();

/* The switch: eight samples when one model hands over to the other at some noise level, copies
   beside their originals. The pictures are those of the notebook; nothing is sampled here. */
(function () {
  "use strict";
  const { tile, chart, count, percent, digits } = geomem.live;
  const BASES = ["small", "large"]; // which model begins; the other goes on

  function build(live) {
    const { data, html, stage } = live, { shape } = data, levels = data.sigma; // descending
    const d = shape[0] * shape[1] * shape[2], ends = levels.length + 1, low = data.low, high = data.high;
    const rounded = ({ level, first }) => ({
      level: Math.max(0, Math.min(ends, Math.round(level))), first: first >= 0.5 ? 1 : 0,
    });
    live.begin({ level: data.start, first: 0 }, rounded);
    /* Along the slider noise grows: at its left the first model answers throughout, at its right
       the second; the rows of the pictures go the other way, as the sampler does. */
    const rowOf = (level) => ends - level;
    const sigmaOf = (level) => (level <= 0 ? low : level >= ends ? high : levels[rowOf(level) - 1]);
    const other = (first) => BASES[1 - first];
    const written = (level) =>
      level <= 0 ? "never" : level >= ends ? "from the start" : `below σ = ${digits(sigmaOf(level))}`;

    const eight = Array.from({ length: data.shown }, () => [tile(live, shape), tile(live, shape)]);
    const curves = chart(live, {
      low, high, zone: data.zone, label: "switch at noise level σ",
      curves: BASES.map((key, i) => ({
        key, name: `${key} model first, then ${other(i)}: copies`,
        sigma: [low, ...Array.from(levels).reverse(), high], mean: Array.from(data.shares[key]).reverse(),
      })),
      choose: (sigma) => {
        const away = (level) => Math.abs(Math.log(sigmaOf(level) / sigma));
        live.state.level = Array.from({ length: ends + 1 }, (_, i) => i).reduce((a, b) => (away(b) < away(a) ? b : a));
        live.changed();
      },
    });
    stage.append(
      html("div", { class: "switch" }, ...eight.map(([sample, original]) =>
        html("div", { class: "column" }, sample.element, original.element))),
      live.controls, live.words, live.said, curves.element);
    live.slider({
      key: "level", label: "the second model answers", low: 0, high: ends, steps: ends,
      text: (level) => written(Math.round(level)),
    });
    const turns = BASES.map((base, i) =>
      live.button(`${base} model first`, () => { live.state.first = i; live.changed(); }));
    live.synced.push(() => turns.forEach((button, i) => button.setAttribute("aria-pressed", i === live.state.first)));
    live.buttons();

    const image = (pixels, i) => Float32Array.from(pixels.subarray(i * d, (i + 1) * d), (v) => v / 127.5 - 1);

    live.draw = () => {
      const { level, first } = rounded(live.state), base = BASES[first], at = rowOf(level) * data.shown;
      let copies = 0;
      eight.forEach(([sample, original], i) => {
        const ratio = data.ratio[base][at + i], which = data.originals_of[base][at + i], copy = which >= 0;
        const said = `${copy ? "copy" : "no copy"}, ratio ${ratio.toFixed(2)}`;
        copies += copy;
        sample.show(image(data.pictures[base], at + i), { text: said, label: `sample ${i + 1}: ${said}`, copy });
        original.element.classList.toggle("none", !copy);
        if (copy) original.show(image(data.originals, which), { text: `of training ${data.numbers[which] + 1}`, copy });
      });
      curves.show(sigmaOf(level), percent);
      const share = data.shares[base][rowOf(level)];
      const who = level <= 0 ? `The ${base} model answers at every noise level`
        : level >= ends ? `The ${other(first)} model answers at every noise level`
        : `The ${base} model begins, and the ${other(first)} one answers below σ = ${digits(sigmaOf(level))}`;
      live.say(`${who}: ${copies} of these ${data.shown} samples are copies, and ${percent(share)} of all ${count(data.n)}.`);
    };
  }

  geomem.live("switch", build);
})();

/* The plane: five training points, their shells and Voronoi cells, and both curves of the paper.

   The numbers are those of geomem in Python: the same new points and noise draws (its data bring
   them), the same formulas, double precision. */
(function () {
  "use strict";
  const { set, pressed } = window.geomem.live;
  const COLOURS = ["#4c9bd6", "#e69f00", "#8fd0f5", "#e8793a", "#f0e442"]; // of the five points
  const HALF = 3.2, BOARD = 400; // the plane from -HALF to HALF, on a board of BOARD units
  const PIXELS = 140; // a side of the coloured ground
  const SIGMA = [0.05, 10], SHELL = [0.02, 5]; // ends of the sliders

  // The geometry

  /** Radii of a shell in the plane, in units of sigma, and what share of noise lies between. */
  function shell(c) {
    const spread = 2 * Math.sqrt(2 * c), inner2 = Math.max(2 - spread, 0), outer2 = 2 + spread + 2 * c;
    const mass = Math.exp(-inner2 / 2) - Math.exp(-outer2 / 2);
    return { inner: Math.sqrt(inner2), outer: Math.sqrt(outer2), mass };
  }

  /** Squared distances of (x, y) from the points [x1, y1, x2, y2, ...], into `out`. */
  function squares(points, x, y, out) {
    for (let i = 0; i < out.length; i++) out[i] = (points[2 * i] - x) ** 2 + (points[2 * i + 1] - y) ** 2;
    return out;
  }

  /** The weights of squared distances relative to the largest one, in their place; their sum. */
  function soften(found, sigma) {
    let least = Infinity, total = 0;
    for (let i = 0; i < found.length; i++) if (found[i] < least) least = found[i];
    for (let i = 0; i < found.length; i++) total += found[i] = Math.exp((least - found[i]) / (2 * sigma ** 2));
    return total;
  }

  /** The posterior weights of the points at (x, y). */
  function weights(points, x, y, sigma) {
    const found = squares(points, x, y, new Float64Array(points.length / 2)), total = soften(found, sigma);
    return found.map((one) => one / total);
  }

  function covered(found, low, high) {
    for (let i = 0; i < found.length; i++) if (found[i] >= low && found[i] <= high) return true;
    return false;
  }

  /** Calls use(x, y) for each of n places and each draw: the place with its noise. */
  function overNoise(places, n, noise, sigma, use) {
    const [draws, rows] = noise.shape;
    for (let k = 0; k < draws; k++)
      for (let q = 0, z = 2 * k * rows; q < n; q++, z += 2)
        use(places[2 * q] + sigma * noise[z], places[2 * q + 1] + sigma * noise[z + 1]);
    return draws * n;
  }

  /** C_sigma: how often a noisy new point lies in a shell. */
  function coverage(points, sigma, c, { fresh, noise }) {
    const { inner, outer } = shell(c), found = new Float64Array(points.length / 2);
    const low = (inner * sigma) ** 2, high = (outer * sigma) ** 2;
    let hits = 0;
    const all = overNoise(fresh, fresh.length / 2, noise, sigma, (x, y) => {
      hits += covered(squares(points, x, y, found), low, high);
    });
    return hits / all;
  }

  /** W_sigma: the mean of the largest posterior weight around the training points. */
  function concentration(points, sigma, { noise }) {
    const found = new Float64Array(points.length / 2);
    let sum = 0;
    const all = overNoise(points, found.length, noise, sigma, (x, y) => {
      sum += 1 / soften(squares(points, x, y, found), sigma); // the largest weight
    });
    return sum / all;
  }

  function curves(points, c, data) {
    const sigma = Array.from(data.sigma);
    return {
      sigma,
      c: sigma.map((one) => coverage(points, one, c, data)),
      w: sigma.map((one) => concentration(points, one, data)),
    };
  }

  // The rule of the three regimes, as geomem.find_regimes has it

  /** Where values pass the level between the levels i and i + 1: linear in log sigma. */
  function between(sigma, values, level, i) {
    const share = (level - values[i]) / (values[i + 1] - values[i]);
    return Math.exp(Math.log(sigma[i]) + share * Math.log(sigma[i + 1] / sigma[i]));
  }
  function lastRise(sigma, values, level) {
    const i = values.findLastIndex((one) => one < level);
    return i < 0 || i === values.length - 1 ? NaN : between(sigma, values, level, i);
  }
  function firstFall(sigma, values, level) {
    const i = values.findIndex((one) => one < level);
    return i < 1 ? NaN : between(sigma, values, level, i - 1);
  }

  /** Where C rises and W falls through the level; NaN where it does not. */
  function edges({ sigma, c, w }, level) {
    const both = c.map((one, i) => Math.min(one, w[i])), top = Math.max(...both), peak = both.indexOf(top);
    if (top < level) return { covered: lastRise(sigma, c, level), concentrated: firstFall(sigma, w, level) };
    // Each curve by itself: between two levels the lower may be one, then the other.
    const part = (values, inside) => values.map((one, i) => (inside(i) ? one : 9)); // 9: above every level
    const pick = (of, ends) => {
      const known = ends.filter((one) => !Number.isNaN(one));
      return known.length ? of(...known) : NaN;
    };
    return {
      covered: pick(Math.max, [c, w].map((one) => lastRise(sigma, part(one, (i) => i <= peak), level))),
      concentrated: pick(Math.min, [c, w].map((one) => firstFall(sigma, part(one, (i) => i >= peak), level))),
    };
  }

  /** The regime at sigma, and whether there is a danger zone at all, in words. */
  function regime(sigma, { covered, concentrated }, level) {
    const none = `There is no danger zone: coverage and concentration are nowhere both at least ${level}.`;
    if (Number.isNaN(covered + concentrated)) return none;
    if (sigma < Math.min(covered, concentrated))
      return `Small noise: the posterior is sure of one point, and coverage is below ${level}.`;
    if (sigma > Math.max(covered, concentrated))
      return "Large noise: what is new is covered, and the posterior is spread over several points.";
    if (covered > concentrated) return `${none} Here the posterior is spread already, and coverage still low.`;
    const [low, high] = [covered, concentrated].map((edge) => edge.toPrecision(2));
    return `Medium noise, the danger zone: both are at least ${level}, for σ from ${low} to ${high}.`;
  }

  /** The Voronoi cell of point i in the square of the board: its corners, by cutting halves off. */
  function cell(points, i) {
    let corners = [[-HALF, -HALF], [HALF, -HALF], [HALF, HALF], [-HALF, HALF]];
    const [px, py] = points.slice(2 * i, 2 * i + 2);
    for (let j = 0; 2 * j < points.length; j++) {
      const nx = points[2 * j] - px, ny = points[2 * j + 1] - py;
      const beyond = ([x, y]) => nx * (x - px - nx / 2) + ny * (y - py - ny / 2);
      if (!nx && !ny) continue;
      corners = corners.flatMap((here, k) => {
        const next = corners[(k + 1) % corners.length], a = beyond(here), b = beyond(next);
        const cut = a < 0 !== b < 0 ? [[0, 1].map((m) => here[m] + (a / (a - b)) * (next[m] - here[m]))] : [];
        return a < 0 ? [here, ...cut] : cut;
      });
    }
    return corners;
  }

  // The picture

  const across = (x) => ((x + HALF) / (2 * HALF)) * BOARD, down = (y) => BOARD - across(y);
  const far = (length) => (length / (2 * HALF)) * BOARD;
  const closed = (corners) => (corners.length ? `M${corners.map(([x, y]) => `${across(x)},${down(y)}`).join("L")}Z` : "");
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  /** The ground: each place in the colours of the points by their posterior weights, strong where
      a shell holds it. So cells are sharp at small noise and run into each other at large noise. */
  function paint(context, { points, sigma, c }) {
    const image = context.createImageData(PIXELS, PIXELS), tints = COLOURS.map(rgb);
    const { inner, outer } = shell(c), low = (inner * sigma) ** 2, high = (outer * sigma) ** 2;
    const found = new Float64Array(points.length / 2), step = (2 * HALF) / PIXELS;
    for (let row = 0, at = 0; row < PIXELS; row++)
      for (let column = 0; column < PIXELS; column++, at += 4) {
        const [x, y] = [(column + 0.5) * step - HALF, HALF - (row + 0.5) * step];
        image.data[at + 3] = covered(squares(points, x, y, found), low, high) ? 190 : 45;
        const total = soften(found, sigma);
        for (let m = 0; m < 3; m++) image.data[at + m] = tints.reduce((sum, tint, i) => sum + found[i] * tint[m], 0) / total;
      }
    context.putImageData(image, 0, 0);
  }

  function board(live) {
    const { svg, html, state, data } = live, n = state.points.length / 2;
    const make = (count, tag, attributes) => Array.from({ length: count }, () => svg(tag, attributes));
    const canvas = html("canvas", { width: PIXELS, height: PIXELS, "aria-hidden": "true" });
    const parts = {
      cells: make(n, "path", { class: "cell" }),
      outer: make(n, "circle", { class: "shell" }),
      inner: make(n, "circle", { class: "shell" }),
      fresh: make(data.fresh.shape[0], "circle", { class: "new", r: 3.2 }),
      answer: svg("path", { class: "answer" }),
    };
    const law = svg("path", { class: "law", d: closed([[-1, -1], [1, -1], [1, 1], [-1, 1]].map((at) => at.map((x) => x * data.half))) });
    const reach = () => svg("circle", { class: "reach", r: 22 });
    const handles = Array.from({ length: n }, (_, i) =>
      svg("g", { class: "handle point" }, reach(), svg("circle", { r: 11, fill: COLOURS[i] }), svg("text", {}, String(i + 1))));
    const cross = () => svg("path", { class: "cross", d: "M-9,-9L9,9M-9,9L9,-9" });
    handles.push(svg("g", { class: "handle" }, reach(), cross(), cross()));
    const label = "Five training points in the plane and a cross, which can be moved by arrow keys";
    const picture = svg("svg", { viewBox: `0 0 ${BOARD} ${BOARD}`, role: "group", "aria-label": label },
      law, ...parts.cells, ...parts.outer, ...parts.inner, ...parts.fresh, parts.answer, ...handles);
    return { element: html("div", { class: "plane-board" }, canvas, picture), canvas, picture, parts, handles };
  }

  const within = (x) => Math.max(-HALF, Math.min(HALF, Math.round(x * 100) / 100));

  /** Where a handle is: that of a point in state.points, that of the cross in state.at. */
  const placeOf = (state, i) => (2 * i < state.points.length ? [state.points, 2 * i] : [state.at, 0]);

  function movable(live, { picture, handles }) {
    const { state } = live;
    const move = (i, x, y) => {
      const [list, at] = placeOf(state, i);
      list[at] = within(x);
      list[at + 1] = within(y);
      live.hover = null;
      live.changed();
    };
    const placed = (event) => {
      const box = picture.getBoundingClientRect(), scale = (2 * HALF) / box.width;
      return [(event.clientX - box.left) * scale - HALF, HALF - (event.clientY - box.top) * scale];
    };
    handles.forEach((handle, i) => {
      const name = i < handles.length - 1 ? `training point ${i + 1}` : "cross, a noisy input";
      set(handle, { tabindex: 0, role: "slider", "aria-label": name, "aria-valuemin": -HALF, "aria-valuemax": HALF });
      handle.addEventListener("pointerdown", (event) => {
        handle.setPointerCapture(event.pointerId);
        handle.focus();
        event.preventDefault();
      });
      handle.addEventListener("pointermove", (event) => {
        if (handle.hasPointerCapture(event.pointerId)) move(i, ...placed(event));
      });
      handle.addEventListener("click", (event) => event.stopPropagation());
      handle.addEventListener("keydown", (event) => {
        const step = event.shiftKey ? 0.5 : 0.1;
        const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
        if (!way || event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
        const [list, at] = placeOf(state, i);
        move(i, list[at] + way[0], list[at + 1] + way[1]);
        event.preventDefault();
      });
    });
    picture.addEventListener("click", (event) => move(handles.length - 1, ...placed(event)));
    picture.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" || event.buttons) return;
      live.hover = placed(event);
      live.redraw();
    });
    picture.addEventListener("pointerleave", () => {
      live.hover = null;
      live.redraw();
    });
  }

  function drawBoard(live, { canvas, parts, handles }) {
    const { state, data } = live, { points, sigma, c } = state, { inner, outer } = shell(c);
    paint(canvas.getContext("2d"), state);
    parts.cells.forEach((path, i) => set(path, { d: closed(cell(points, i)) }));
    for (const [key, radius] of [["inner", inner], ["outer", outer]])
      parts[key].forEach((circle, i) =>
        set(circle, { cx: across(points[2 * i]), cy: down(points[2 * i + 1]), r: far(radius * sigma) }));
    const found = new Float64Array(points.length / 2);
    parts.fresh.forEach((circle, q) => {
      const [x, y] = [0, 1].map((m) => data.fresh[2 * q + m] + sigma * data.noise[2 * q + m]);
      const held = covered(squares(points, x, y, found), (inner * sigma) ** 2, (outer * sigma) ** 2);
      set(circle, { cx: across(x), cy: down(y), class: held ? "new covered" : "new" });
    });
    handles.forEach((handle, i) => {
      const [list, at] = placeOf(state, i), [x, y] = list.slice(at, at + 2);
      const said = `x ${x.toFixed(2)}, y ${y.toFixed(2)}`;
      set(handle, { transform: `translate(${across(x)},${down(y)})`, "aria-valuenow": x, "aria-valuetext": said });
    });
  }

  function bars(live) {
    const { html } = live, title = html("span", { class: "title" });
    const rows = COLOURS.map((colour, i) => ({
      chip: html("span", { class: "chip", style: `background:${colour}` }, String(i + 1)),
      bar: html("span", { class: "bar", style: `background:${colour}` }),
      value: html("span", { class: "value" }),
      held: html("span", { class: "held" }),
    }));
    const cells = rows.flatMap(({ chip, bar, value, held }) => [chip, html("span", {}, bar), value, held]);
    return { element: html("div", { class: "plane-bars" }, title, ...cells), title, rows };
  }

  function drawBars(live, { title, rows }, { answer }) {
    const { points, sigma, c, at } = live.state, [x, y] = live.hover || at, { inner, outer } = shell(c);
    const found = weights(points, x, y, sigma), square = squares(points, x, y, new Float64Array(rows.length));
    title.textContent = `Posterior weights ${live.hover ? "under the pointer" : "at the cross"}`;
    rows.forEach(({ bar, value, held }, i) => {
      bar.style.width = `${100 * found[i]}%`;
      value.textContent = found[i].toFixed(3);
      held.textContent = covered([square[i]], (inner * sigma) ** 2, (outer * sigma) ** 2) ? "in its shell" : "";
    });
    const mean = [0, 1].map((m) => found.reduce((sum, one, i) => sum + one * points[2 * i + m], 0));
    const [left, top] = [across(mean[0]), down(mean[1])];
    set(answer, { d: `M${across(x)},${down(y)}L${left},${top}m-7,0l7,-7l7,7l-7,7z` });
  }

  // The curves: 360 x 250 units

  const LEFT = 34, RIGHT = 352, TOP = 40, BOTTOM = 208;
  const along = (sigma) => LEFT + ((RIGHT - LEFT) * Math.log(sigma / SIGMA[0])) / Math.log(SIGMA[1] / SIGMA[0]);
  const up = (value) => BOTTOM - (BOTTOM - TOP) * value;

  function graph(live) {
    const { svg, data, state } = live, ticks = [0.1, 0.3, 1, 3, 10];
    const middle = { "text-anchor": "middle" }, end = { "text-anchor": "end" };
    const parts = {
      zone: svg("rect", { class: "zone", y: TOP, height: BOTTOM - TOP }),
      names: ["small", "danger zone", "large"].map((name) => svg("text", { ...middle, y: TOP - 25 }, name)),
      now: svg("path", { class: "now" }),
    };
    for (const [key, name] of [["c", "coverage C"], ["w", "concentration W"]]) {
      parts[`${key}Name`] = svg("text", { class: key, x: RIGHT, ...end }, name);
      parts[key] = svg("path", { class: key });
      parts[`${key}Dot`] = svg("circle", { class: key, r: 5 });
    }
    const picture = svg("svg", { viewBox: "0 0 360 250", class: "plane-curves", "aria-hidden": "true" },
      parts.zone, ...parts.names,
      svg("path", { class: "axis", d: `M${LEFT},${TOP}V${BOTTOM}H${RIGHT}` }),
      svg("path", { class: "rule", d: `M${LEFT},${up(data.level)}H${RIGHT}` }),
      ...[0, data.level, 1].map((one) => svg("text", { ...end, x: LEFT - 5, y: up(one) + 4 }, String(one))),
      ...ticks.map((one) => svg("text", { ...middle, x: along(one), y: BOTTOM + 16 }, String(one))),
      svg("text", { ...middle, x: (LEFT + RIGHT) / 2, y: BOTTOM + 34 }, "noise level σ"),
      parts.c, parts.w, parts.now, parts.cDot, parts.wDot,
      parts.cName, parts.wName);
    pressed(picture, LEFT, RIGHT, (share) => {
      state.sigma = SIGMA[0] * (SIGMA[1] / SIGMA[0]) ** share;
      live.changed();
    });
    return { element: picture, parts };
  }

  function drawGraph({ parts }, found, { covered, concentrated }, sigma, value) {
    const ends = { c: found.c.slice(-12), w: found.w.slice(-17) }; // as far as the names reach
    const upper = ends.c.at(-1) >= ends.w.at(-1) ? "c" : "w"; // the other has its name below
    for (const key of ["c", "w"]) {
      set(parts[key], { d: `M${found.sigma.map((one, i) => `${along(one)},${up(found[key][i])}`).join("L")}` });
      set(parts[`${key}Dot`], { cx: along(sigma), cy: up(value[key]) });
      set(parts[`${key}Name`], { y: key === upper ? up(Math.max(...ends[key])) - 6 : up(Math.min(...ends[key])) + 14 });
    }
    set(parts.now, { d: `M${along(sigma)},${TOP}V${BOTTOM}` });
    const known = !Number.isNaN(covered + concentrated), zone = known && covered < concentrated;
    const [low, high] = [Math.min(covered, concentrated), Math.max(covered, concentrated)].map(known ? along : () => LEFT);
    set(parts.zone, { x: low, width: zone ? high - low : 0 });
    const places = [(LEFT + low) / 2, (low + high) / 2, (high + RIGHT) / 2];
    const fits = [zone ? places[1] - places[0] > 60 : true, zone, zone ? places[2] - places[1] > 60 : true];
    parts.names.forEach((text, i) => set(text, { x: places[i], visibility: known && fits[i] ? "visible" : "hidden" }));
  }

  // The figure

  /** The curves of the state, computed anew only for other points or shells, and at most a quarter
      of the time: on a slow phone they follow a moving point a little later. */
  function remembered(live) {
    let known, found, cost = 0, last = -1e9, waiting = 0;
    return () => {
      const { points, c } = live.state, key = `${points};${c}`, begun = performance.now();
      if (key === known) return found;
      if (found && begun - last < 4 * cost) {
        waiting = waiting || setTimeout(() => { waiting = 0; live.redraw(); }, 4 * cost);
        return found;
      }
      found = curves(points, c, live.data);
      found.edges = edges(found, live.data.level);
      [known, last] = [key, performance.now()];
      cost = last - begun;
      return found;
    };
  }

  function inWords({ sigma, c }, value, found, level) {
    const { inner, outer, mass } = shell(c), size = inner ? `from ${inner.toFixed(2)}σ to ${outer.toFixed(2)}σ` : `up to ${outer.toFixed(2)}σ`;
    const kind = inner ? "ring" : "disc";
    return `${regime(sigma, found.edges, level)} At σ = ${sigma.toPrecision(2)} coverage is ${value.c.toFixed(2)} and ` +
      `concentration ${value.w.toFixed(2)}. A shell is a ${kind}, ${size}, and holds ${geomem.live.percent(mass)} of the noise around its point.`;
  }

  function build(live) {
    const { data, html } = live;
    const start = { sigma: data.start, c: data.c, points: Array.from(data.points), at: [0.3, -0.2] };
    live.begin(start, ({ points, at, ...rest }) => ({ ...rest, points: points.map(within), at: at.map(within) }));
    const ground = board(live), lines = graph(live), weighed = bars(live), now = remembered(live);
    const written = (one) => one.toPrecision(2);
    live.slider({ key: "sigma", label: "noise level <i>σ</i>", low: SIGMA[0], high: SIGMA[1], log: true, text: written });
    live.slider({ key: "c", label: "thickness of the shells, <i>c</i>", low: SHELL[0], high: SHELL[1], log: true, text: written });
    live.buttons();
    movable(live, ground);
    live.stage.append(
      html("div", { class: "plane" }, ground.element, live.controls, html("div", {}, lines.element, weighed.element)),
      live.words, live.said);
    live.draw = () => {
      const { state } = live, found = now();
      const value = { c: coverage(state.points, state.sigma, state.c, data), w: concentration(state.points, state.sigma, data) };
      drawBoard(live, ground);
      drawBars(live, weighed, ground.parts);
      drawGraph(lines, found, found.edges, state.sigma, value);
      live.say(inWords(state, value, found, data.level));
    };
  }

  window.geomem.plane = { weights, coverage, curves, edges }; // for the tests
  window.geomem.live("plane", build);
})();

/* What all live figures share: their data, sliders, charts, state in the address, redrawing.

   A figure's script calls geomem.live("name", build); build(live) puts its parts into live.stage
   and sets live.draw, which draws live.state. No modules and nothing fetched: a page that is
   opened from a disk may do neither. Nothing moves by itself, so that nothing need be stilled for
   those who ask for less motion. */
(function () {
  "use strict";
  const geomem = (window.geomem = window.geomem || {});

  // Data

  const ARRAYS = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array, int32: Int32Array };

  /** What attach_live wrote: arrays as typed arrays with a shape, wherever they stand. */
  function unpacked(value) {
    if (value === null || typeof value !== "object") return value;
    if (typeof value.base64 === "string") return unpackedArray(value);
    if (Array.isArray(value)) return value.map(unpacked);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unpacked(one)]));
  }

  function unpackedArray({ shape, dtype, base64 }) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const array = dtype === "float16" ? fromHalves(new Uint16Array(bytes.buffer))
      : new ARRAYS[dtype](bytes.buffer);
    return Object.assign(array, { shape });
  }

  /** IEEE half precision to float32. */
  function fromHalves(halves) {
    return Float32Array.from(halves, (half) => {
      const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
      return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
    });
  }

  // Numbers as text

  /** A multiple of a power of ten; of two that are as near the even one, as Python rounds. */
  function rounded(number, power) {
    if (power > 0) return Number(`${Math.round(number / 10 ** power)}e${power}`);
    // By all decimals that the number has: of ties toFixed takes the larger, Python the even one.
    const up = number.toFixed(-power), exact = number.toFixed(60 - power);
    const tie = /^50*$/.test(exact.slice(exact.length - 60));
    return Number(tie && Number(up.at(-1)) % 2 ? (Number(up) - 10 ** power).toFixed(-power) : up);
  }

  /** Two digits, without an exponent: 0.05, 12, 120. */
  const digits = (number) =>
    number ? String(rounded(number, Math.floor(Math.log10(Math.abs(number))) - 1)) : "0";

  /** A share: two digits, none of them lost near 0 and 1, as geomem.geometry.intervals.percent. */
  function percent(share) {
    const value = 100 * share, left = 100 - Math.abs(value);
    if (left > 0 && left < 1e-4) return "above 99.9999%";
    if (left > 0 && left < 1) {
      const decimals = 1 - Math.floor(Math.log10(left));
      return `${rounded(value, -decimals).toFixed(decimals)}%`;
    }
    return Math.abs(value) >= 9.95 ? `${rounded(value, 0)}%` : `${digits(value)}%`;
  }

  // Elements

  function set(element, attributes, ...children) {
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  const html = (tag, attributes, ...children) =>
    set(document.createElement(tag), attributes, ...children);
  const svg = (tag, attributes, ...children) =>
    set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, ...children);

  /** Where a chart is pressed or dragged over: choose(share) of the way from `left` to `right`, in
      its own units. Not where a finger comes down, which may be about to scroll the page. */
  function pressed(picture, left, right, choose) {
    const press = ({ clientX }) => {
      const box = picture.getBoundingClientRect();
      const x = ((clientX - box.left) / box.width) * picture.viewBox.baseVal.width;
      choose(Math.max(0, Math.min(1, (x - left) / (right - left))));
    };
    picture.addEventListener("pointerdown", (event) => picture.setPointerCapture(event.pointerId));
    picture.addEventListener("pointermove", (event) => event.buttons === 1 && press(event));
    picture.addEventListener("click", press);
  }

  // State in the address: #live=plane&sigma=0.45&points=1,2,3. Numbers, or lists of them.

  const shown = (number) => String(Number(number.toPrecision(4)));
  const written = (value) => (Array.isArray(value) ? value.map(shown).join(",") : shown(value));

  function fragment(name, state) {
    const parts = Object.entries(state).map(([key, value]) => `${key}=${written(value)}`);
    return `#live=${[name, ...parts].join("&")}`;
  }

  /** The start, with what the address says of it; what does not fit is left as it was. */
  function stateOf(name, start) {
    const state = structuredClone(start), said = new URLSearchParams(location.hash.slice(1));
    const here = said.get("live") === name;
    for (const [key, value] of Object.entries(here ? start : {})) {
      const given = (said.get(key) ?? "").split(",");
      const fits = given.length === [value].flat().length && given.every((one) => one.trim() && isFinite(one));
      if (fits) state[key] = Array.isArray(value) ? given.map(Number) : Number(given[0]);
    }
    return [state, here];
  }

  // A live figure

  class Live {
    constructor(stage, name, data) {
      Object.assign(this, { stage, name, data, html, svg, draw: () => {} });
      this.controls = html("div", { class: "live-controls" });
      this.words = html("p", { class: "live-words" });
      this.said = html("p", { class: "live-said", "aria-live": "polite" });
      this.synced = [];
    }

    /** Begin with this state, or with that of the address, which `fit` puts into its ranges. */
    begin(start, fit = (state) => state) {
      const [state, here] = stateOf(this.name, start);
      Object.assign(this, { start, here, state: fit(state) });
      addEventListener("hashchange", () => {
        clearTimeout(this.writing); // else it would write over where the reader has gone
        const [state, here] = stateOf(this.name, start);
        if (!here) return;
        Object.assign(this.state, fit(state));
        this.redraw();
      });
    }

    /** The state has changed: draw it once before the next frame, and write it down soon. */
    changed() {
      this.moved = true;
      this.redraw();
      clearTimeout(this.writing); // browsers refuse many changes of an address in a short time
      this.writing = setTimeout(() => this.write(fragment(this.name, this.state)), 300);
    }

    redraw() {
      if (this.frame) return;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        for (const sync of this.synced) sync();
        this.draw();
      });
    }

    write(hash) {
      history.replaceState(history.state, "", hash || location.pathname + location.search);
    }

    /** Say in words what the picture shows: at once to those who see; to those who listen when
        they have moved something and paused. */
    say(text) {
      this.words.textContent = text;
      clearTimeout(this.saying);
      if (this.moved) this.saying = setTimeout(() => (this.said.textContent = text), 500);
    }

    /** A slider of one number of the state; the browser's own, and so by keyboard, too.

        low, high: its ends; steps: between them, evenly in the value or, with log, in its
        logarithm; text(value): how it is written. */
    slider({ key, label, low, high, steps = 200, log = false, text = shown }) {
      const to = log ? Math.log : (x) => x, from = log ? Math.exp : (x) => x;
      const id = `live-${this.name}-${key}`, [a, b] = [to(low), to(high)];
      const input = html("input", { type: "range", id, min: 0, max: steps, step: 1 });
      const output = html("output", { for: id, "aria-live": "off" }); // the slider says it itself
      input.addEventListener("input", () => {
        this.state[key] = from(a + ((b - a) * input.value) / steps);
        this.changed();
      });
      this.synced.push(() => {
        const value = Math.min(high, Math.max(low, this.state[key]));
        const at = String(Math.round(((to(value) - a) / (b - a)) * steps));
        if (input.value !== at) input.value = at;
        this.state[key] = value;
        output.textContent = text(value);
        input.setAttribute("aria-valuetext", text(value));
      });
      const name = html("label", { for: id });
      name.innerHTML = label; // of the script, never of an address
      this.controls.append(html("div", { class: "live-slider" }, name, input, output));
    }

    button(label, press) {
      const button = html("button", { type: "button", class: "live-button" }, label);
      button.addEventListener("click", press);
      this.controls.append(button);
      return button;
    }

    /** "Copy the link of this view" and "Back to the start". */
    buttons() {
      const copy = this.button("Copy the link of this view", async () => {
        const hash = fragment(this.name, this.state);
        this.write(hash);
        const done = await copied(location.href.split("#")[0] + hash);
        copy.textContent = done ? "Copied" : "The link is in the address bar";
        setTimeout(() => (copy.textContent = "Copy the link of this view"), 2000);
      });
      this.button("Back to the start", () => {
        clearTimeout(this.writing);
        Object.assign(this.state, structuredClone(this.start));
        this.write("");
        this.redraw();
      });
    }
  }

  /** Where the clipboard is refused, as on some pages from a disk, a selection does it. */
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const before = document.activeElement;
      const area = html("textarea", { class: "live-hidden", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      before.focus(); // which the selection took
      return done;
    }
  }

  geomem.live = function (name, build) {
    for (const stage of document.querySelectorAll(`.live-stage[data-live="${name}"]`)) {
      const packed = (geomem.data || {})[name];
      if (!packed) {
        stage.textContent = "The data of this figure did not load.";
        continue;
      }
      const live = new Live(stage, name, unpacked(packed));
      build(live);
      if (live.here) stage.scrollIntoView(); // once it has its height
      live.redraw();
    }
  };
  Object.assign(geomem.live, { unpacked, set, pressed, percent, digits });
})();

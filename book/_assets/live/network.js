/* The networks of geomem/diffusion/network.py, in the reader's browser: the MLP and the U-Net, with
   EDM's preconditioning. One image at a time; float32 weights and maps, sums in float64.

   geomem.networks(models) -> ask(name, x, sigma), a promise of the denoised image. A model is as
   geomem/companion/live_figures.py writes it: its config, the sizes of its weights by name, and all
   of them in one Float32Array. */

var geomem = self.geomem || (self.geomem = {});

/* All of it in one function, since a worker is made of its text: a page that is opened from a disk
   may load no other script into one. */
geomem.networkRuntime = function () {
  "use strict";
  const EPSILON = 1e-5; // of torch's normalizations

  /* A feature map: `channels` squares of side `size`, one after the other. A vector has size 1. */
  function map(channels, size, data) {
    return { channels, size, data: data || new Float32Array(channels * size * size) };
  }

  function each(x, f) {
    return map(x.channels, x.size, x.data.map(f));
  }

  const silu = (x) => each(x, (v) => v / (1 + Math.exp(-v)));
  const sum = (x, y) => each(x, (v, i) => v + y.data[i]);

  function concatenated(x, y) {
    const both = map(x.channels + y.channels, x.size);
    both.data.set(x.data);
    both.data.set(y.data, x.data.length);
    return both;
  }

  /* A linear layer at every pixel, which is a 1x1 convolution; of a vector a linear layer. */
  function linear(x, layer) {
    const area = x.size ** 2, out = map(layer.bias.length, x.size);
    const sums = new Float64Array(area);
    for (let o = 0; o < out.channels; o++) {
      sums.fill(layer.bias[o]);
      for (let i = 0; i < x.channels; i++) {
        const w = layer.weight[o * x.channels + i], start = i * area;
        for (let p = 0; p < area; p++) sums[p] += w * x.data[start + p];
      }
      out.data.set(sums, o * area);
    }
    return out;
  }

  /* A 3x3 convolution with padding 1. In a map with a rim of zeros the nine neighbours of a pixel
     lie at nine fixed offsets, so one loop goes over all rows; what it finds at the rim is left. */
  function convolution(x, layer) {
    const n = x.size, s = n + 2, length = n * s - 2, out = map(layer.bias.length, n);
    const rim = new Float32Array(x.channels * s * s), sums = new Float64Array(n * s);
    for (let c = 0; c < x.channels; c++)
      for (let row = 0; row < n; row++) {
        const from = (c * n + row) * n;
        rim.set(x.data.subarray(from, from + n), (c * s + row + 1) * s + 1);
      }
    for (let o = 0; o < out.channels; o++) {
      sums.fill(layer.bias[o]);
      for (let c = 0; c < x.channels; c++) {
        const w = layer.weight, k = (o * x.channels + c) * 9;
        const w0 = w[k], w1 = w[k + 1], w2 = w[k + 2], w3 = w[k + 3], w4 = w[k + 4];
        const w5 = w[k + 5], w6 = w[k + 6], w7 = w[k + 7], w8 = w[k + 8];
        for (let p = 0, q = c * s * s; p < length; p++, q++) {
          const r = q + s, t = r + s;
          sums[p] +=
            w0 * rim[q] + w1 * rim[q + 1] + w2 * rim[q + 2] +
            w3 * rim[r] + w4 * rim[r + 1] + w5 * rim[r + 2] +
            w6 * rim[t] + w7 * rim[t + 1] + w8 * rim[t + 2];
        }
      }
      for (let row = 0; row < n; row++)
        out.data.set(sums.subarray(row * s, row * s + n), (o * n + row) * n);
    }
    return out;
  }

  /* Normalization of groups of channels, then times `scale` and plus `shift`, by channel. */
  function normalized(x, groups, scale, shift) {
    const area = x.size ** 2, per = x.channels / groups, out = map(x.channels, x.size);
    for (let g = 0; g < groups; g++) {
      const from = g * per * area, to = from + per * area;
      let mean = 0, variance = 0;
      for (let p = from; p < to; p++) mean += x.data[p];
      mean /= to - from;
      for (let p = from; p < to; p++) variance += (x.data[p] - mean) ** 2;
      const unit = 1 / Math.sqrt(variance / (to - from) + EPSILON);
      for (let p = from; p < to; p++) {
        const c = Math.floor(p / area);
        out.data[p] = (x.data[p] - mean) * unit * scale(c) + shift(c);
      }
    }
    return out;
  }

  const gcd = (a, b) => (b ? gcd(b, a % b) : a);
  const groupsOf = (width) => gcd(width, Math.min(32, Math.max(1, Math.floor(width / 4))));
  const layerNorm = (x) => normalized(x, 1, () => 1, () => 0);
  const groupNorm = (x, layer) =>
    normalized(x, groupsOf(x.channels), (c) => layer.weight[c], (c) => layer.bias[c]);
  /* The noise level steers: the first half of `by` scales, the second shifts. */
  const steered = (x, groups, by) =>
    normalized(x, groups, (c) => 1 + by.data[c], (c) => by.data[x.channels + c]);

  function halved(x) {
    const n = x.size / 2, out = map(x.channels, n);
    for (let p = 0; p < out.data.length; p++) {
      const q = 2 * x.size * Math.floor(p / n) + 2 * (p % n);
      const pair = (at) => x.data[at] + x.data[at + 1];
      out.data[p] = (pair(q) + pair(q + x.size)) / 4;
    }
    return out;
  }

  function doubled(x) {
    const n = 2 * x.size, out = map(x.channels, n);
    for (let p = 0; p < out.data.length; p++) {
      const row = Math.floor(p / n); // over all channels, whose sides are even
      out.data[p] = x.data[(row >> 1) * x.size + ((p % n) >> 1)];
    }
    return out;
  }

  /* Space to depth: each square of `patch` pixels becomes so many channels; and back. */
  function places(channels, size, patch, move) {
    const grid = size / patch;
    for (let c = 0; c < channels; c++)
      for (let y = 0; y < size; y++)
        for (let x = 0; x < size; x++) {
          const deep = (c * patch + (y % patch)) * patch + (x % patch);
          const [row, column] = [Math.floor(y / patch), Math.floor(x / patch)];
          move((c * size + y) * size + x, (deep * grid + row) * grid + column);
        }
  }

  function unshuffled(x, patch) {
    const out = map(x.channels * patch ** 2, x.size / patch);
    places(x.channels, x.size, patch, (flat, deep) => (out.data[deep] = x.data[flat]));
    return out;
  }

  function shuffled(x, patch) {
    const out = map(x.channels / patch ** 2, x.size * patch);
    places(out.channels, out.size, patch, (flat, deep) => (out.data[flat] = x.data[deep]));
    return out;
  }

  function attention(x, layers) {
    const area = x.size ** 2, width = x.channels, mixed = map(width, x.size);
    const all = linear(groupNorm(x, layers.norm), layers.qkv).data;
    const value = (part, c, p) => all[(part * width + c) * area + p];
    for (let p = 0; p < area; p++) {
      const scores = Float64Array.from({ length: area }, (_, q) => {
        let product = 0;
        for (let c = 0; c < width; c++) product += value(0, c, p) * value(1, c, q);
        return product / Math.sqrt(width);
      });
      const top = scores.reduce((a, b) => Math.max(a, b));
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((a, b) => a + b);
      for (let c = 0; c < width; c++) {
        let mean = 0;
        for (let q = 0; q < area; q++) mean += weights[q] * value(2, c, q);
        mixed.data[c * area + p] = mean / total;
      }
    }
    return sum(x, linear(mixed, layers.out));
  }

  function block(x, steer, layers, resample) {
    let h = silu(groupNorm(x, layers.norm_in));
    if (resample === "halve") [h, x] = [halved(h), halved(x)];
    h = convolution(h, layers.conv_in);
    h = silu(steered(h, groupsOf(h.channels), linear(steer, layers.film)));
    if (resample === "double") [h, x] = [doubled(h), doubled(x)];
    h = convolution(h, layers.conv_out);
    h = sum(layers.skip ? linear(x, layers.skip) : x, h);
    return layers.attention ? attention(h, layers.attention) : h;
  }

  function embedding(noise, layers) {
    const angles = Array.from({ length: 32 }, (_, k) => noise * 2 ** (-1 + (5 * k) / 31));
    const features = [...angles.map(Math.cos), ...angles.map(Math.sin)];
    const h = silu(linear(map(64, 1, Float32Array.from(features)), layers[0]));
    return silu(linear(h, layers[2]));
  }

  function unet(x, noise, layers, config) {
    const { multipliers, blocks, patch } = config;
    const steer = embedding(noise, layers.embedding.layers);
    let h = convolution(unshuffled(x, patch), layers.stem), next = 0;
    const skips = [h];
    const down = (resample) => skips.push((h = block(h, steer, layers.down[next++], resample)));
    multipliers.forEach((_, level) => {
      if (level) down("halve");
      for (let i = 0; i < blocks; i++) down();
    });
    h = block(h, steer, layers.middle);
    next = 0;
    for (let level = multipliers.length - 1; level >= 0; level--) {
      for (let i = 0; i <= blocks; i++)
        h = block(concatenated(h, skips.pop()), steer, layers.up[next++]);
      if (level) h = block(h, steer, layers.up[next++], "double");
    }
    return shuffled(convolution(silu(groupNorm(h, layers.norm)), layers.head), patch);
  }

  function mlp(x, noise, layers) {
    const steer = embedding(noise, layers.embedding.layers);
    let h = linear(map(x.data.length, 1, x.data), layers.stem);
    for (const its of Object.values(layers.blocks || {})) {
      const into = silu(linear(steered(h, 1, linear(steer, its.film)), its.rise));
      h = sum(h, linear(into, its.fall));
    }
    return linear(silu(layerNorm(h)), layers.head);
  }

  /* "down.0.conv_in.weight" -> layers.down[0].conv_in.weight */
  function layersOf(model) {
    const layers = {};
    let from = 0;
    for (const [name, size] of model.sizes) {
      const path = name.split("."), last = path.pop();
      const layer = path.reduce((at, part) => (at[part] = at[part] || {}), layers);
      layer[last] = model.weights.subarray(from, (from += size));
    }
    return layers;
  }

  /* The denoiser (x, sigma) -> clean image of a model; `x` and the answer are arrays of pixels. */
  function denoiser(model) {
    const { config } = model, layers = layersOf(model);
    const network = config.network === "mlp" ? mlp : unet;
    return function (x, sigma) {
      const total = sigma ** 2 + config.sigma_data ** 2;
      const skip = config.sigma_data ** 2 / total;
      const out = (sigma * config.sigma_data) / Math.sqrt(total);
      const input = Float32Array.from(x, (v) => (v - config.mean) / Math.sqrt(total));
      const image = map(config.channels, config.size, input);
      const raw = network(image, Math.log(sigma) / 4, layers, config).data;
      return Float32Array.from(x, (v, i) => config.mean + skip * (v - config.mean) + out * raw[i]);
    };
  }

  return denoiser;
};

/* The models at work beside the page, in a worker, so that the page never waits for them; without
   workers in the page itself, one answer after the other. */
geomem.networks = function (models) {
  "use strict";
  const waiting = new Map();
  let asked = 0;

  function serve(denoiser) {
    const known = {};
    self.onmessage = ({ data: { id, models, name, x, sigma } }) => {
      for (const key in models) known[key] = denoiser(models[key]);
      if (name) self.postMessage({ id, answer: known[name](x, sigma) });
    };
  }

  try {
    const text = `(${serve})((${geomem.networkRuntime})());`;
    const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    worker.onmessage = ({ data: { id, answer } }) => {
      waiting.get(id)(answer);
      waiting.delete(id);
    };
    worker.postMessage({ models });
    return (name, x, sigma) =>
      new Promise((resolve) => {
        waiting.set(++asked, resolve);
        worker.postMessage({ id: asked, name, x, sigma });
      });
  } catch (error) {
    const known = {}, denoiser = geomem.networkRuntime();
    for (const name in models) known[name] = denoiser(models[name]);
    return (name, x, sigma) =>
      new Promise((resolve) => setTimeout(() => resolve(known[name](x, sigma))));
  }
};

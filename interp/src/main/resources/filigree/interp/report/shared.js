  const data = JSON.parse(document.getElementById('data').textContent);
  const tip = document.getElementById('tip');
  // The page names no address, so the SVG namespace is taken from the picture in its header.
  const SVG = document.querySelector('svg').namespaceURI;

  // ---- Small helpers ------------------------------------------------------------------------

  function fillNode(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter(child => child !== null));
    return node;
  }
  const el = (tag, attributes, ...children) =>
    fillNode(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fillNode(document.createElementNS(SVG, tag), attributes, children);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const range = count => Array.from({length: count}, (_, index) => index);

  function format(value) {
    const size = Math.abs(value);
    if (value === 0) return '0';
    if (size >= 1e6 || size < 1e-3) {
      const [digits, power] = value.toExponential(2).split('e');
      const raised = String(Number(power)).replace(/./g, c => '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'['0123456789-'.indexOf(c)]);
      const short = digits.replace(/\.?0+$/, '');
      return (short === '1' ? '' : short + '·') + '10' + raised;
    }
    const text = size >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(4)));
    return text.replace('-', '−');
  }
  const percent = value => format(100 * value) + ' %';
  const whole = value => Math.round(value).toLocaleString('en');

  /** Makes spaces and line breaks of a token visible. */
  const visible = token => token.replace(/ /g, '␣').replace(/\n/g, '⏎').replace(/\t/g, '⇥') || '∅';
  const clip = (text, length) => {
    const letters = Array.from(text);
    return letters.length > length ? letters.slice(0, length - 1).join('') + '…' : text;
  };

  function showTip(event, text) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 14 + box.width < document.documentElement.clientWidth;
    const left = right ? event.clientX + 14 : Math.max(4, event.clientX - 14 - box.width);
    const below = event.clientY + 14 + box.height < window.innerHeight;
    const top = below ? event.clientY + 14 : event.clientY - 14 - box.height;
    tip.style.left = left + window.scrollX + 'px';
    tip.style.top = top + window.scrollY + 'px';
  }
  const hideTip = () => { tip.hidden = true; };

  /** Draws now, when the width changes, and when the colour scheme changes. */
  function redrawOnChange(host, draw) {
    let width = 0;
    const update = () => {
      const now = Math.floor(host.getBoundingClientRect().width);
      if (now > 0 && now !== width) { width = now; draw(width); }
    };
    new ResizeObserver(() => requestAnimationFrame(update)).observe(host);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(width));
    update();
    return () => { if (width > 0) draw(width); };
  }

  // ---- Axes ---------------------------------------------------------------------------------

  function linearTicks(low, high, wanted) {
    const raw = (high - low) / wanted;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find(factor => factor * unit >= raw * 0.999);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
      ticks.push(Number((i * step).toPrecision(12)));
    }
    return ticks;
  }

  function logTicks(low, high, wanted) {
    const decades = Math.log10(high / low);
    if (decades < 0.8) return linearTicks(low, high, wanted);
    const every = Math.max(1, Math.ceil(decades / wanted));
    const factors = decades < 1.6 ? [1, 2, 5] : decades < 2.6 ? [1, 3] : [1];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      if (power % every !== 0) continue;
      for (const factor of factors) {
        const tick = Number((factor * 10 ** power).toPrecision(6));
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    }
    return ticks;
  }

  /** Index of the point that is nearest to a position on the step axis. */
  function nearest(xs, x) {
    let low = 0;
    let high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle; else high = middle;
    }
    return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  }

  // ---- Attention maps -----------------------------------------------------------------------

  const triangle = count => count * (count + 1) / 2;

  function bytes(base64) {
    const text = atob(base64);
    return Uint8Array.from({length: text.length}, (_, i) => text.charCodeAt(i));
  }

  /** The pattern of one model on one prompt, decoded when it is first looked at. */
  function pattern(attention, prompt, model) {
    prompt.decoded = prompt.decoded || {};
    if (!prompt.decoded[model]) {
      const raw = new DataView(bytes(prompt.weights[model]).buffer);
      const gates = model === attention.gated && prompt.gates ? bytes(prompt.gates) : null;
      const size = triangle(prompt.tokens.length);
      const index = (l, h, q, k) => (l * attention.heads + h) * size + triangle(q) + k;
      prompt.decoded[model] = {
        gated: gates !== null,
        weight: (l, h, q, k) => raw.getUint16(2 * index(l, h, q, k), true) / 65535,
        open: (l, h, q, k) => {
          const bit = index(l, h, q, k);
          return gates === null || (gates[bit >> 3] >> (bit & 7) & 1) === 1;
        },
      };
    }
    return prompt.decoded[model];
  }

  /** A canvas that is sharp on any screen, in CSS pixels. */
  function prepare(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = width + 'px';
    canvas.style.height = height + 'px';
    const ctx = canvas.getContext('2d');
    ctx.scale(ratio, ratio);
    return ctx;
  }

  const colourOf = head => css('--c' + (head % 12));
  const at = event => {
    const box = event.currentTarget.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  function edgeText(attention, prompt, model, l, h, q, k) {
    const map = pattern(attention, prompt, model);
    const gate = map.gated ? (map.open(l, h, q, k) ? '\ngate open' : '\ngate closed') : '';
    return `${model}, layer ${l}, head ${h}\nquery ${visible(prompt.tokens[q])} (${q}) reads key ${visible(prompt.tokens[k])} (${k})`
      + `\nweight ${map.weight(l, h, q, k).toFixed(4)}${gate}`;
  }

  /** Draws one map with its upper left corner at the origin; size is the side of one square. */
  function drawMap(ctx, attention, prompt, model, l, h, size, colours) {
    const map = pattern(attention, prompt, model);
    const count = prompt.tokens.length;
    for (let q = 0; q < count; q++) {
      const y = Math.round(q * size);
      const tall = Math.round((q + 1) * size) - y;
      ctx.fillStyle = colours.faint;
      ctx.fillRect(0, y, Math.round((q + 1) * size), tall);
      for (let k = 0; k <= q; k++) {
        const x = Math.round(k * size);
        const broad = Math.round((k + 1) * size) - x;
        const weight = map.weight(l, h, q, k);
        if (weight > 0.0005) {
          // Square root: a weight of 0.05 can still be seen, which a linear scale would hide.
          ctx.fillStyle = `rgba(${colours.map}, ${Math.sqrt(weight).toFixed(3)})`;
          ctx.fillRect(x, y, broad, tall);
        }
        if (!map.gated) continue;
        if (map.open(l, h, q, k)) {
          const inset = size < 8 ? 0.5 : 1;
          ctx.strokeStyle = colours.ink;
          ctx.lineWidth = size < 8 ? 1 : 1.5;
          ctx.strokeRect(x + inset, y + inset, broad - 2 * inset, tall - 2 * inset);
        } else if (size >= 7) {
          ctx.fillStyle = colours.soft;
          const dot = size < 14 ? 1.5 : 3;
          ctx.fillRect(x + (broad - dot) / 2, y + (tall - dot) / 2, dot, dot);
        }
      }
    }
    ctx.strokeStyle = colours.rule;
    ctx.lineWidth = 1;
    ctx.strokeRect(-0.5, -0.5, Math.round(count * size) + 1, Math.round(count * size) + 1);
  }

  const colours = () => ({ink: css('--ink'), soft: css('--soft'), rule: css('--rule'), faint: css('--faint'),
    paper: css('--paper'), map: css('--map'), accent: css('--accent')});
  const labelFont = size => `${size}px ${css('--label')}`;

  /** Token names along a map: keys below it, queries on its left; thinned out when they would touch. */
  function drawTokens(ctx, tokens, size, sides, colour, room) {
    const font = clamp(Math.floor(size * 0.8), 8, 13);
    const every = Math.ceil((font + 1) / size);
    ctx.font = labelFont(font);
    ctx.fillStyle = colour;
    ctx.textBaseline = 'middle';
    const upright = tokens.every(token => Array.from(token).length <= Math.max(1, Math.floor(size / 8)));
    tokens.forEach((token, i) => {
      if (i % every !== 0) return;
      const text = clip(visible(token), room);
      if (sides.left) {
        ctx.textAlign = 'right';
        ctx.fillText(text, -5, (i + 0.5) * size + 0.5);
      }
      if (sides.below) {
        ctx.save();
        ctx.translate((i + 0.5) * size, tokens.length * size + 5);
        if (upright) {
          ctx.textAlign = 'center';
          ctx.textBaseline = 'top';
        } else {
          ctx.rotate(-Math.PI / 2);
          ctx.textAlign = 'right';
        }
        ctx.fillText(text, 0, 0);
        ctx.restore();
      }
    });
    return upright;
  }

  const tokenRoom = (tokens, length) =>
    Math.max(...tokens.map(token => Math.min(length, Array.from(visible(token)).length)));

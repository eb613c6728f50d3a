  const {models, panels, prompts} = data;
  const COLOURS = ['--c1', '--c0'];
  const colourOfModel = m => models.length === 1 ? '--c0' : COLOURS[m];

  /** Node labels: input, a3.h1, m3, logits. */
  function parse(label) {
    const head = /^a(\d+)\.h(\d+)$/.exec(label);
    if (head) return {kind: 'head', layer: Number(head[1]), head: Number(head[2])};
    const mlp = /^m(\d+)$/.exec(label);
    return mlp ? {kind: 'mlp', layer: Number(mlp[1])} : {kind: label};
  }
  const signOf = score => score < 0 ? 'minus' : 'plus';
  const reachedAt = (curve, effect) => {
    const found = curve.reached.find(reach => reach.effect === effect);
    return found ? found.k : undefined;
  };

  /** Answers to click and to Enter and space. */
  function pressable(node, act) {
    node.setAttribute('role', 'button');
    node.setAttribute('tabindex', 0);
    node.addEventListener('click', act);
    node.addEventListener('keydown', event => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      act(event);
    });
  }

  function tipOn(node, text) {
    node.addEventListener('pointermove', event => showTip(event, text));
    node.addEventListener('pointerleave', hideTip);
  }

  // ---- Curves of explained effect -----------------------------------------------------------

  const state = {effect: data.effect, size: 1, layer: 0, head: 0, prompt: 0};

  function curvesFigure(figure) {
    if (panels.length === 0) { figure.closest('section').remove(); return; }
    const effects = [...new Set(panels.flatMap(panel => panel.curves.flatMap(curve => curve.reached.map(reach => reach.effect))))]
      .sort((a, b) => a - b);
    const redraws = panels.map(panel => effectChart(figure.querySelector('.charts'), panel));
    const host = document.getElementById('effects');
    if (!effects.includes(state.effect)) state.effect = effects[0];
    if (effects.length === 0) { host.remove(); return; }
    const buttons = effects.map(effect => {
      const button = el('button', {type: 'button', 'aria-pressed': String(effect === state.effect)}, percent(effect));
      button.addEventListener('click', () => {
        state.effect = effect;
        buttons.forEach((other, i) => other.setAttribute('aria-pressed', String(effects[i] === effect)));
        redraws.forEach(redraw => redraw());
      });
      return button;
    });
    host.append(el('span', {class: 'name'}, 'explained effect'), ...buttons);
  }

  function effectChart(place, panel) {
    const H = 330, LEFT = 50, RIGHT = 16, TOP = 22, BOTTOM = 40;
    const canvas = svg('svg', {role: 'img'});
    const at = el('span', {class: 'at'});
    const outputs = panel.curves.map(() => el('output'));
    const legend = el('ul', {class: 'legend'}, ...panel.curves.map((curve, m) => el('li', {},
      svg('svg', {viewBox: '0 0 26 9', 'aria-hidden': 'true'}, svg('line', {
        x1: 0, x2: 26, y1: 4.5, y2: 4.5, stroke: `var(${colourOfModel(m)})`, 'stroke-width': 2.4})),
      models[m].name, outputs[m])));
    const host = el('div', {class: 'chart'},
      el('div', {class: 'bar'}, el('b', {}, panel.title), el('span', {class: 'unit'}, panel.unit), at), canvas, legend);
    place.append(host);
    // A circuit of nothing has no place on a logarithmic axis.
    const curves = panel.curves.map(curve => ({...curve, points: range(curve.k.length).filter(i => curve.k[i] > 0)}));
    let view = null;

    function draw(width) {
      const drawn = curves.flatMap(curve => curve.points.map(i => [curve.k[i], curve.low[i], curve.high[i]]));
      const most = Math.max(2, ...drawn.map(point => point[0]));
      const least = Math.min(...drawn.map(point => point[0]), most / 2);
      const low = Math.min(0, ...drawn.map(point => Math.max(point[1], -0.5)));
      const high = Math.max(1.02, ...drawn.map(point => Math.min(point[2], 1.5)));
      const inner = width - LEFT - RIGHT;
      const px = k => LEFT + Math.log(k / least) / Math.log(most / least) * inner;
      const py = effect => TOP + (high - clamp(effect, low, high)) / (high - low) * (H - TOP - BOTTOM);
      const parts = [svg('title', {}, `${panel.title}: explained effect over the number of ${panel.unit}`)];
      for (const tick of linearTicks(low, high, 5)) {
        parts.push(svg('line', {class: 'grid', x1: LEFT, x2: width - RIGHT, y1: py(tick), y2: py(tick)}),
          svg('text', {x: LEFT - 7, y: py(tick) + 4, 'text-anchor': 'end'}, format(tick)));
      }
      for (const tick of logTicks(least, most, width < 500 ? 4 : 7)) {
        parts.push(svg('line', {class: 'axis', x1: px(tick), x2: px(tick), y1: H - BOTTOM, y2: H - BOTTOM + 4}),
          svg('text', {x: px(tick), y: H - BOTTOM + 17, 'text-anchor': 'middle'}, whole(tick)));
      }
      parts.push(svg('line', {class: 'axis', x1: LEFT, x2: width - RIGHT, y1: H - BOTTOM, y2: H - BOTTOM}),
        svg('text', {x: LEFT + inner / 2, y: H - 5, 'text-anchor': 'middle'}, `${panel.unit} kept`),
        svg('line', {class: 'level', x1: LEFT, x2: width - RIGHT, y1: py(state.effect), y2: py(state.effect)}));
      const trace = (curve, values, points) => points.map(i => px(curve.k[i]).toFixed(1) + ' ' + py(values[i]).toFixed(1));
      curves.forEach((curve, m) => {
        const colour = `var(${colourOfModel(m)})`;
        const there = trace(curve, curve.high, curve.points);
        const back = trace(curve, curve.low, curve.points.slice().reverse());
        if (curve.points.length === 1) {
          const [only] = curve.points;
          parts.push(svg('circle', {cx: px(curve.k[only]), cy: py(curve.effect[only]), r: 3, fill: colour}));
        }
        parts.push(svg('path', {class: 'band', fill: colour, d: 'M' + there.concat(back).join('L') + 'Z'}),
          svg('path', {class: 'line', stroke: colour, 'stroke-width': 2.2, d: 'M' + trace(curve, curve.effect, curve.points).join('L')}));
      });
      parts.push(...rings(px, py, width));
      const cross = svg('g', {});
      parts.push(cross);
      canvas.setAttribute('viewBox', `0 0 ${width} ${H}`);
      canvas.replaceChildren(...parts);
      view = {least, most, inner, px, py, cross, bottom: H - BOTTOM};
      show(null);
    }

    /** The smallest circuits at the chosen effect, and between them the ratio, as in the paper. */
    function rings(px, py, width) {
      const y = py(state.effect);
      const ks = curves.map(curve => reachedAt(curve, state.effect));
      const parts = [];
      const ratio = panel.ratios.find(one => one.effect === state.effect);
      if (ratio && ks.every(k => k > 0)) {
        const [from, to] = [px(ks[1]), px(ks[0])];
        const way = Math.sign(to - from);
        if (Math.abs(to - from) > 22) {
          const tip = (x, side) => `M${x + side * 13} ${y - 4}L${x + side * 7} ${y}L${x + side * 13} ${y + 4}`;
          parts.push(svg('path', {class: 'arrow', d: `M${from + way * 7} ${y}L${to - way * 7} ${y}` + tip(from, way) + tip(to, -way)}));
        }
        const x = clamp((from + to) / 2, LEFT + 62, width - RIGHT - 62);
        parts.push(svg('rect', {class: 'behind', x: x - 48, y: y + 5, width: 96, height: 35, rx: 4}),
          svg('text', {class: 'ratio', x, y: y + 19, 'text-anchor': 'middle'}, format(Number(ratio.ratio.toPrecision(3))) + '×'),
          svg('text', {class: 'interval', x, y: y + 35, 'text-anchor': 'middle'},
            `${format(Number(ratio.low.toPrecision(3)))} to ${format(Number(ratio.high.toPrecision(3)))}`));
      }
      ks.forEach((k, m) => {
        if (k > 0) parts.push(svg('circle', {class: 'ring', cx: px(k), cy: y, r: 5, stroke: `var(${colourOfModel(m)})`}));
      });
      return parts;
    }

    function show(k) {
      at.textContent = k === null ? '' : `${whole(k)} ${panel.unit}`;
      view.cross.replaceChildren();
      if (k !== null) {
        view.cross.append(svg('line', {class: 'cross', x1: view.px(k), x2: view.px(k), y1: TOP, y2: view.bottom}));
      }
      curves.forEach((curve, m) => {
        if (k === null) {
          const reached = reachedAt(curve, state.effect);
          outputs[m].textContent = reached === undefined ? `${percent(state.effect)} not reached` : `${whole(reached)} of ${whole(curve.total)}`;
          return;
        }
        const i = curve.points[nearest(curve.points.map(point => Math.log(curve.k[point])), Math.log(k))];
        outputs[m].textContent = `k = ${whole(curve.k[i])}: ${curve.effect[i].toFixed(3)} (${curve.low[i].toFixed(3)} to ${curve.high[i].toFixed(3)})`;
        view.cross.append(svg('circle', {cx: view.px(curve.k[i]), cy: view.py(curve.effect[i]), r: 3.5,
          fill: `var(${colourOfModel(m)})`, stroke: 'var(--paper)'}));
      });
    }

    const point = event => {
      const box = canvas.getBoundingClientRect();
      const share = clamp((event.clientX - box.left - LEFT) / view.inner, 0, 1);
      show(Math.max(1, Math.round(view.least * (view.most / view.least) ** share)));
    };
    canvas.addEventListener('pointermove', point);
    canvas.addEventListener('pointerdown', point);
    canvas.addEventListener('pointerleave', () => show(null));
    return redrawOnChange(host, draw);
  }

  // ---- Holders: one beside the other --------------------------------------------------------

  function pairOf(figure) {
    const pair = el('div', {class: 'pair'});
    pair.style.setProperty('--models', models.length);
    const holders = models.map(model => {
      const title = el('h4', {}, model.name);
      const holder = el('div', {}, title);
      pair.append(holder);
      return {holder, title};
    });
    figure.prepend(pair);
    return holders;
  }

  const followers = [];
  function choose(layer, head) {
    Object.assign(state, {layer, head});
    followers.forEach(follow => follow());
    const shown = document.getElementById('attention');
    if (shown) shown.scrollIntoView({block: 'nearest', behavior: 'smooth'});
  }
  const isChosen = (layer, head) => layer === state.layer && head === state.head;

  // ---- Graphs -------------------------------------------------------------------------------

  /** The circuit of the model at the chosen effect, from the first panel that counts edges. */
  function usualSize(m) {
    const panel = panels.find(one => one.unit === 'edges');
    const k = panel && reachedAt(panel.curves[m], data.effect);
    return clamp(k || 50, 1, Math.max(1, models[m].edges.length));
  }

  function graphsFigure(figure) {
    const controls = document.getElementById('size');
    if (models.every(model => model.edges.length === 0)) { document.getElementById('wiring').remove(); return; }
    const sizes = models.map((_, m) => usualSize(m));
    const holders = pairOf(figure);
    const redraws = models.map((model, m) => graph(model, holders[m], () => sizes[m]));
    models.forEach((model, m) => {
      if (model.edges.length === 0) return;
      // The slider moves in equal ratios: the first ten edges matter as much as the next hundred.
      const steps = 200;
      const most = Math.log(model.edges.length);
      const slider = el('input', {type: 'range', min: 0, max: steps, step: 1,
        value: most > 0 ? Math.round(Math.log(sizes[m]) / most * steps) : 0});
      const shown = el('output', {}, whole(sizes[m]));
      slider.addEventListener('input', () => {
        sizes[m] = Math.round(Math.exp(slider.value / steps * most));
        shown.textContent = whole(sizes[m]);
        redraws[m]();
      });
      controls.append(el('label', {}, el('span', {class: 'name'}, `edges of ${model.name}`), slider, shown));
    });
  }

  function graph(model, {holder, title}, size) {
    const canvas = svg('svg', {class: 'graph', role: 'group', 'aria-label': `Circuit of ${model.name}`});
    holder.append(canvas);
    const strongest = Math.max(...model.edges.map(edge => Math.abs(edge[3])), 1e-30);

    function draw(width) {
      const LEFT = 28, MLPS = clamp(width * 0.14, 46, 84), BOTTOM = 44, TOP = 40;
      const gap = clamp(620 / model.layers, 52, 104);
      const height = TOP + BOTTOM + gap * model.layers;
      const step = (width - LEFT - MLPS) / model.heads;
      const r = clamp(step * 0.36, 2.5, 12);
      const middle = LEFT + (width - LEFT - MLPS) / 2;
      const rowOf = layer => height - BOTTOM - (layer + 0.35) * gap;
      const place = node => {
        switch (node.kind) {
          case 'input': return {x: middle, y: height - 20, up: 11, side: 27};
          case 'logits': return {x: middle, y: 18, up: 11, side: 27};
          case 'mlp': return {x: width - MLPS * 0.62, y: rowOf(node.layer) - gap * 0.5, up: 9, side: 11};
          default: return {x: LEFT + (node.head + 0.5) * step, y: rowOf(node.layer), up: r, side: r};
        }
      };
      const edges = model.edges.slice(0, size());
      const used = new Set(edges.flatMap(edge => [edge[0], edge[1]]));
      title.replaceChildren(model.name, el('span', {}, ` · the ${whole(edges.length)} strongest edges between ${whole(used.size)} nodes`
        + (model.allEdges > model.edges.length ? `; ${whole(model.edges.length)} of ${whole(model.allEdges)} scored edges are on this page` : '')));
      const parts = range(model.layers).flatMap(layer => [
        svg('line', {class: 'row', x1: LEFT, x2: width - MLPS, y1: rowOf(layer), y2: rowOf(layer)}),
        svg('text', {x: 11, y: rowOf(layer) + 4}, `L${layer}`)]);
      const lines = new Map();
      const near = [];
      edges.forEach((edge, rank) => {
        const [from, to] = [parse(edge[0]), parse(edge[1])];
        const d = curve(place(from), place(to), from, to, edge[2]);
        const share = Math.sqrt(Math.abs(edge[3]) / strongest);
        const line = svg('path', {class: 'edge ' + signOf(edge[3]), d,
          'stroke-width': (0.5 + 4 * share).toFixed(2), 'stroke-opacity': (0.12 + 0.75 * share).toFixed(3)});
        lines.set(edge, line);
        const touch = svg('path', {class: 'near', d});
        tipOn(touch, `${edge[0]} → ${edge[1]}${edge[2] ? ' ' + edge[2] : ''}\nscore ${format(edge[3])}\nrank ${rank + 1} of ${whole(model.allEdges)}`);
        touch.addEventListener('pointerenter', () => light(other => other === edge));
        touch.addEventListener('pointerleave', () => light(() => true));
        near.push(touch);
      });
      parts.push(...[...lines.values()].reverse(), ...near.reverse());
      const light = wanted => lines.forEach((line, edge) => line.classList.toggle('faded', !wanted(edge)));
      const labels = ['input', ...range(model.layers).flatMap(layer =>
        [...range(model.heads).map(head => `a${layer}.h${head}`), `m${layer}`]), 'logits'];
      for (const label of labels) parts.push(mark(label, place(parse(label)), step));

      function mark(label, spot, stepOfHeads) {
        const node = parse(label);
        const score = model.nodes[label];
        const classes = `node${used.has(label) ? ' used' : ''}${score === undefined ? '' : ' ' + signOf(score)}`;
        const shape = node.kind === 'head'
          ? svg('circle', {class: classes, cx: spot.x, cy: spot.y, r: used.has(label) ? r : r * 0.55})
          : svg('rect', {class: classes, x: spot.x - spot.side, y: spot.y - spot.up, width: 2 * spot.side, height: 2 * spot.up, rx: 4});
        const text = {input: 'input', logits: 'logits', mlp: `m${node.layer}`, head: node.head}[node.kind];
        const small = node.kind === 'head' && (stepOfHeads < 20 || !used.has(label));
        const group = svg('g', {}, shape, small ? null : svg('text', {x: spot.x, y: spot.y + 4}, text));
        const count = edges.filter(edge => edge[0] === label || edge[1] === label).length;
        tipOn(group, `${label}\n${score === undefined ? '' : 'score ' + format(score) + '\n'}${count} of the edges drawn`);
        group.addEventListener('pointerenter', () => { if (count > 0) light(edge => edge[0] === label || edge[1] === label); });
        group.addEventListener('pointerleave', () => light(() => true));
        if (node.kind === 'head') {
          group.setAttribute('aria-label', `Head ${node.head} of layer ${node.layer}`);
          group.classList.toggle('chosen', isChosen(node.layer, node.head));
          pressable(group, () => choose(node.layer, node.head));
        }
        return group;
      }

      function curve(a, b, from, to, port) {
        const [x1, y1] = [a.x, a.y - a.up];
        const shift = {'(q)': -0.6, '(k)': 0, '(v)': 0.6}[port] || 0;
        const [x2, y2] = [b.x + shift * b.side, b.y + b.up];
        // Edges along the column of MLPs bow out to the right, or they would hide each other.
        if (from.kind === 'mlp' && to.kind === 'mlp') {
          const bow = 14 + (to.layer - from.layer) / Math.max(1, model.layers - 1) * (MLPS * 0.62 - 20);
          return `M${a.x + a.side} ${a.y}C${a.x + a.side + bow} ${a.y} ${a.x + a.side + bow} ${b.y} ${b.x + b.side} ${b.y}`;
        }
        const bend = Math.min(90, Math.abs(y1 - y2) * 0.5);
        return `M${x1.toFixed(1)} ${y1.toFixed(1)}C${x1.toFixed(1)} ${(y1 - bend).toFixed(1)} ${x2.toFixed(1)} ${(y2 + bend).toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
      }
      canvas.setAttribute('viewBox', `0 0 ${width} ${height}`);
      canvas.replaceChildren(...parts);
    }
    const redraw = redrawOnChange(holder, draw);
    followers.push(redraw);
    return redraw;
  }

  // ---- Heat map of heads --------------------------------------------------------------------

  function heatFigure(figure) {
    const scores = models.map(model => range(model.layers).map(layer =>
      range(model.heads).map(head => model.nodes[`a${layer}.h${head}`])));
    const known = scores.flat(2).filter(score => score !== undefined);
    if (known.length === 0) { figure.remove(); return; }
    const most = Math.max(...known.map(Math.abs), 1e-30);
    const decimals = clamp(1 - Math.floor(Math.log10(most)), 0, 8);
    const short = score => score.toFixed(decimals).replace(/^-(?=[0.]*$)/, '').replace('-', '−');
    const holders = pairOf(figure);
    models.forEach((model, m) => {
      const canvas = svg('svg', {class: 'heatmap', role: 'group', 'aria-label': `Scores of the heads of ${model.name}`});
      holders[m].holder.append(canvas);
      const draw = width => {
        const LEFT = 26, TOP = 18;
        const side = Math.min(54, (width - LEFT - 2) / model.heads);
        const tall = Math.min(side, 40);
        const parts = range(model.heads).filter(head => side >= 16 || head % 2 === 0)
          .map(head => svg('text', {x: LEFT + (head + 0.5) * side, y: 12, 'text-anchor': 'middle'}, side < 26 ? head : 'h' + head));
        for (let layer = 0; layer < model.layers; layer++) {
          const y = TOP + (model.layers - 1 - layer) * tall;
          parts.push(svg('text', {x: 0, y: y + tall / 2 + 4}, 'L' + layer));
          for (let head = 0; head < model.heads; head++) parts.push(cell(layer, head, LEFT + head * side, y, side, tall));
        }
        // Last, so that its frame lies over its neighbours.
        parts.sort((a, b) => a.classList.contains('chosen') - b.classList.contains('chosen'));
        canvas.setAttribute('viewBox', `0 0 ${width} ${TOP + model.layers * tall + 3}`);
        canvas.replaceChildren(...parts);
      };
      function cell(layer, head, x, y, side, tall) {
        const score = scores[m][layer][head];
        const share = score === undefined ? 0 : Math.sqrt(Math.abs(score) / most);
        const box = {x, y, width: side, height: tall};
        const group = svg('g', {'aria-label': `Head ${head} of layer ${layer}`}, svg('rect', {class: 'back', ...box}),
          score === undefined ? null : svg('rect', {class: signOf(score), 'fill-opacity': share.toFixed(3), ...box}),
          side < 44 || decimals > 3 || score === undefined ? null : svg('text', {x: x + side / 2, y: y + tall / 2 + 4, 'text-anchor': 'middle',
            class: share > 0.6 ? 'dark' : null}, short(score)));
        tipOn(group, `${model.name}, layer ${layer}, head ${head}\n${score === undefined ? 'no score' : 'score ' + format(score)}`);
        group.classList.toggle('chosen', isChosen(layer, head));
        pressable(group, () => choose(layer, head));
        return group;
      }
      followers.push(redrawOnChange(holders[m].holder, draw));
    });
  }

  // ---- Attention of the chosen head ---------------------------------------------------------

  function attentionFigure(figure) {
    const chooser = document.querySelector('.prompts');
    if (prompts.length === 0) {
      document.querySelector('.attention-heading').remove();
      chooser.remove();
      figure.remove();
      return;
    }
    chooser.append(el('span', {class: 'name'}, 'prompt'));
    const redraws = [];
    const buttons = prompts.map((prompt, i) => {
      const button = el('button', {type: 'button', 'aria-pressed': String(i === 0)}, prompt.name);
      button.addEventListener('click', () => {
        state.prompt = i;
        buttons.forEach((other, j) => other.setAttribute('aria-pressed', String(i === j)));
        redraws.forEach(redraw => redraw());
      });
      return button;
    });
    chooser.append(...buttons);
    const text = el('p', {class: 'hint'});
    const holders = pairOf(figure);
    figure.prepend(text);
    const words = () => {
      const prompt = prompts[state.prompt];
      text.replaceChildren(prompt.tokens.join(''), el('b', {}, prompt.answer));
    };
    words();
    redraws.push(words, ...models.map((model, m) => oneHead(model, holders[m])));
    followers.push(() => redraws.forEach(redraw => redraw()));
  }

  function oneHead(model, {holder, title}) {
    const attention = {layers: model.layers, heads: model.heads, gated: null};
    const views = prompts.map((prompt, p) => ({tokens: prompt.tokens, weights: {[model.name]: model.weights[p]}}));
    const canvas = el('canvas', {role: 'img', 'aria-label': `Attention of the chosen head, ${model.name}`});
    holder.append(canvas);
    let view = null;
    const redraw = redrawOnChange(holder, width => {
      const {layer, head} = state;
      const prompt = views[state.prompt];
      const count = prompt.tokens.length;
      const exists = layer < model.layers && head < model.heads;
      title.replaceChildren(model.name, el('span', {}, exists ? ` · layer ${layer}, head ${head}` : ` has no head ${head} in layer ${layer}`));
      const room = tokenRoom(prompt.tokens, 8);
      const left = 12 + room * 7.5;
      const side = Math.min(40, Math.floor((width - left - 4) / count * 2) / 2);
      const ctx = prepare(canvas, width, exists ? count * side + 14 + room * 8 : 1);
      view = null;
      if (!exists) return;
      const ink = colours();
      ctx.translate(left, 2);
      drawMap(ctx, attention, prompt, model.name, layer, head, side, ink);
      drawTokens(ctx, prompt.tokens, side, {left: true, below: true}, ink.ink, 8);
      view = {left, side, count, prompt, layer, head};
    });
    const point = event => {
      if (!view) return;
      const [x, y] = at(event);
      const k = Math.floor((x - view.left) / view.side);
      const q = Math.floor((y - 2) / view.side);
      if (k < 0 || q < 0 || q >= view.count || k > q) hideTip();
      else showTip(event, edgeText(attention, view.prompt, model.name, view.layer, view.head, q, k));
    };
    canvas.addEventListener('pointermove', point);
    canvas.addEventListener('pointerdown', point);
    canvas.addEventListener('pointerleave', hideTip);
    return redraw;
  }

  // ---- The page -----------------------------------------------------------------------------

  /** Begins with the head of the strongest score, of the last model: the sparse one. */
  function strongestHead() {
    const model = models[models.length - 1];
    const heads = Object.entries(model.nodes).filter(([label]) => parse(label).kind === 'head');
    const found = heads.reduce((best, one) => Math.abs(one[1]) > Math.abs(best[1]) ? one : best, ['a0.h0', 0]);
    return parse(found[0]);
  }

  Object.assign(state, {layer: strongestHead().layer, head: strongestHead().head});
  curvesFigure(document.getElementById('curves'));
  graphsFigure(document.getElementById('graphs'));
  heatFigure(document.getElementById('heat'));
  attentionFigure(document.getElementById('attention'));

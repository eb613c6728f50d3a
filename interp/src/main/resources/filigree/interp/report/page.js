  const runs = data.runs;

  // ---- Curves over steps --------------------------------------------------------------------

  const DASHES = [null, '7 3', '2 3', '9 3 2 3'];

  function stepText(phases, x) {
    const phase = phases.find(p => x <= p.last + p.offset) || phases[phases.length - 1];
    if (!phase) return 'step ' + whole(x);
    const step = 'step ' + whole(x - phase.offset);
    return phase.name ? phase.name + ', ' + step : step;
  }

  /**
   * One set of axes with curves.
   * spec: title, unit, lines [{label, x, y, colour, dash, width, opacity, marks}],
   * level {label, y}, phases, domain [low, high], log, show; group: charts that share a cross-hair.
   */
  function chart(figure, spec, group) {
    const H = 260, LEFT = 56, RIGHT = 12, TOP = 20, BOTTOM = 36;
    const show = spec.show || format;
    const at = el('span', {class: 'at'});
    const toggle = el('button', {type: 'button', title: 'Switch the vertical axis'});
    const values = spec.lines.map(() => el('output'));
    const switches = spec.lines.map(line => el('button', {type: 'button', 'aria-pressed': 'true'},
      svg('svg', {viewBox: '0 0 26 9', 'aria-hidden': 'true'}, svg('line', {
        x1: 0, x2: 26, y1: 4.5, y2: 4.5, stroke: `var(${line.colour})`, 'stroke-width': line.width || 2,
        'stroke-dasharray': line.dash, 'stroke-opacity': line.opacity})),
      line.label));
    const legend = el('ul', {class: 'legend'}, ...switches.map((button, i) => el('li', {}, button, values[i])));
    if (spec.level) {
      legend.append(el('li', {}, svg('svg', {viewBox: '0 0 26 9', 'aria-hidden': 'true'},
        svg('line', {x1: 0, x2: 26, y1: 4.5, y2: 4.5, stroke: 'var(--ink)', 'stroke-dasharray': '5 3'})),
        spec.level.label, el('output', {}, show(spec.level.y))));
    }
    const canvas = svg('svg', {role: 'img', tabindex: 0});
    const host = el('div', {class: 'chart'},
      el('div', {class: 'bar'}, el('b', {}, spec.title), el('span', {class: 'unit'}, spec.unit || ''), at, toggle),
      canvas, legend);
    figure.prepend(host);

    const hidden = new Set();
    const drawn = () => spec.lines.filter(line => !hidden.has(line));
    const drawnValues = () => drawn().flatMap(line => line.y).concat(spec.level ? [spec.level.y] : []);
    const isPositive = value => value > 0;
    const logPossible = spec.lines.every(line => line.y.some(isPositive));
    let log = spec.log && logPossible;
    let view = null;
    let position = null;
    toggle.hidden = !logPossible;

    function draw(width) {
      const used = log ? drawnValues().filter(isPositive) : drawnValues();
      let low = used.reduce((a, b) => Math.min(a, b));
      let high = used.reduce((a, b) => Math.max(a, b));
      if (low === high) {
        low = log ? low / 2 : low - Math.max(Math.abs(low) * 0.1, 1e-9);
        high = log ? high * 2 : high + Math.max(Math.abs(high) * 0.1, 1e-9);
      }
      const scale = log ? Math.log10 : Number;
      const pad = (scale(high) - scale(low)) * 0.04;
      const bottom = scale(low) - pad;
      const top = scale(high) + pad;
      const inner = width - LEFT - RIGHT;
      const [first, last] = spec.domain;
      const px = x => LEFT + (last === first ? 0.5 : (x - first) / (last - first)) * inner;
      const py = y => TOP + (top - scale(y)) / (top - bottom) * (H - TOP - BOTTOM);
      const back = log ? value => 10 ** value : Number;
      const yTicks = (log ? logTicks : linearTicks)(back(bottom), back(top), 5);
      const parts = [svg('title', {}, spec.title + (spec.unit ? ' in ' + spec.unit : '') + ' over steps')];
      for (const tick of yTicks) {
        parts.push(svg('line', {class: 'grid', x1: LEFT, x2: width - RIGHT, y1: py(tick), y2: py(tick)}),
          svg('text', {x: LEFT - 7, y: py(tick) + 4, 'text-anchor': 'end'}, show(tick)));
      }
      for (const tick of linearTicks(first, Math.max(last, first + 1), width < 500 ? 4 : 6)) {
        if (tick !== Math.round(tick) || tick > last) continue;
        parts.push(svg('line', {class: 'axis', x1: px(tick), x2: px(tick), y1: H - BOTTOM, y2: H - BOTTOM + 4}),
          svg('text', {x: px(tick), y: H - BOTTOM + 17, 'text-anchor': 'middle'}, whole(tick)));
      }
      parts.push(svg('line', {class: 'axis', x1: LEFT, x2: width - RIGHT, y1: H - BOTTOM, y2: H - BOTTOM}),
        svg('text', {x: LEFT + inner / 2, y: H - 3, 'text-anchor': 'middle'}, 'step'));
      spec.phases.forEach((phase, i) => {
        const from = px(phase.first + phase.offset);
        if (i > 0) parts.push(svg('line', {class: 'phase', x1: from, x2: from, y1: 4, y2: H - BOTTOM}));
        if (spec.phases.length > 1) parts.push(svg('text', {x: from + (i > 0 ? 5 : 0), y: 13}, phase.name));
      });
      for (const line of drawn()) {
        parts.push(svg('path', {class: 'line', d: path(line, px, py), stroke: `var(${line.colour})`,
          'stroke-width': line.width || 2, 'stroke-opacity': line.opacity, 'stroke-dasharray': line.dash}));
        if (line.marks && line.x.length <= 80) {
          line.x.forEach((x, i) => {
            if (!log || line.y[i] > 0) parts.push(svg('circle', {cx: px(x), cy: py(line.y[i]), r: 2.4, fill: `var(${line.colour})`}));
          });
        }
      }
      if (spec.level && (!log || spec.level.y > 0)) {
        parts.push(svg('line', {x1: LEFT, x2: width - RIGHT, y1: py(spec.level.y), y2: py(spec.level.y),
          stroke: 'var(--ink)', 'stroke-dasharray': '5 3'}));
      }
      const cross = svg('g', {});
      parts.push(cross);
      canvas.setAttribute('viewBox', `0 0 ${width} ${H}`);
      canvas.replaceChildren(...parts);
      toggle.textContent = log ? 'log axis' : 'linear axis';
      toggle.setAttribute('aria-label', 'Vertical axis is ' + (log ? 'logarithmic' : 'linear') + '; switch');
      view = {px, py, cross, width, inner};
      showAt(position);
    }

    function path(line, px, py) {
      const starts = spec.phases.slice(1).map(phase => phase.first + phase.offset);
      let pen = 'M';
      let d = '';
      line.x.forEach((x, i) => {
        if (log && line.y[i] <= 0) { pen = 'M'; return; }
        if (i > 0 && starts.some(start => line.x[i - 1] < start && x >= start)) pen = 'M';
        d += pen + px(x).toFixed(1) + ' ' + py(line.y[i]).toFixed(1);
        pen = 'L';
      });
      return d;
    }

    function showAt(x) {
      position = x;
      at.textContent = x === null ? '' : stepText(spec.phases, x);
      spec.lines.forEach((line, i) => {
        values[i].textContent = show(line.y[x === null ? line.y.length - 1 : nearest(line.x, x)]);
      });
      if (!view) return;
      view.cross.replaceChildren();
      if (x === null) return;
      view.cross.append(svg('line', {class: 'cross', x1: view.px(x), x2: view.px(x), y1: TOP, y2: H - BOTTOM}));
      for (const line of drawn()) {
        const i = nearest(line.x, x);
        if (log && line.y[i] <= 0) continue;
        view.cross.append(svg('circle', {cx: view.px(line.x[i]), cy: view.py(line.y[i]), r: 3.5,
          fill: `var(${line.colour})`, stroke: 'var(--paper)'}));
      }
    }

    const point = event => {
      const box = canvas.getBoundingClientRect();
      const [first, last] = spec.domain;
      const share = (event.clientX - box.left - LEFT) / view.inner;
      group.show(Math.round(clamp(first + share * (last - first), first, last)));
    };
    canvas.addEventListener('pointermove', point);
    canvas.addEventListener('pointerdown', point);
    canvas.addEventListener('pointerleave', () => group.show(null));
    canvas.addEventListener('blur', () => group.show(null));
    canvas.addEventListener('keydown', event => {
      const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!move) return;
      event.preventDefault();
      const [first, last] = spec.domain;
      const start = position === null ? (move > 0 ? first : last) : position;
      group.show(clamp(start + move * Math.max(1, Math.round((last - first) / 100)), first, last));
    });
    group.members.push(showAt);
    const redraw = redrawOnChange(host, draw);
    toggle.addEventListener('click', () => { log = !log; redraw(); });
    switches.forEach((button, i) => button.addEventListener('click', () => {
      const line = spec.lines[i];
      if (hidden.has(line)) hidden.delete(line); else if (drawn().length > 1) hidden.add(line);
      button.setAttribute('aria-pressed', String(!hidden.has(line)));
      redraw();
    }));
  }

  function crossHairGroup() {
    const members = [];
    return {members, show: x => members.forEach(showAt => showAt(x))};
  }

  const wide = lines => {
    const values = lines.flatMap(line => line.y).filter(value => value > 0);
    return values.length > 0 && values.reduce((a, b) => Math.max(a, b)) > 20 * values.reduce((a, b) => Math.min(a, b));
  };

  /** Puts a chart into a figure, or takes the figure away where there is nothing to draw. */
  function chartOrNothing(figure, spec, group) {
    const lines = spec.lines.filter(line => line.x && line.x.length > 0);
    if (lines.length === 0) { figure.remove(); return; }
    const log = spec.log === undefined ? wide(lines) : spec.log;
    chart(figure, {...spec, lines, log}, group);
  }

  const CHARTS = {
    loss: {title: 'Loss', unit: 'nats per token', level: 'tau', lines: [
      {key: 'ce', label: 'each batch', colour: '--c7', width: 1, opacity: 0.5},
      {key: 'ce_average', label: 'watched average', colour: '--c0', width: 2.2},
      {key: 'valid_ce', label: 'held-out', colour: '--c1', width: 1.6, dash: '7 3', marks: true}]},
    density: {title: 'Density', unit: 'share of causal pairs', show: percent, log: true, lines: [
      {key: 'density', label: 'open', colour: '--c0'},
      {key: 'expected_density', label: 'expected', colour: '--c4', dash: '2 3'},
      {key: 'valid_density', label: 'open, held-out', colour: '--c1', width: 1.6, dash: '7 3', marks: true}]},
    edges: {title: 'Edges per query', unit: 'keys per query and head', log: true, lines: [
      {key: 'edges_per_query', label: 'training', colour: '--c0'},
      {key: 'valid_edges_per_query', label: 'held-out', colour: '--c1', width: 1.6, dash: '7 3', marks: true}]},
    beta: {title: 'Weight of sparsity β', unit: 'nats', log: true, lines: [
      {key: 'beta', label: 'β', colour: '--c2'}]},
    lr: {title: 'Learning rate', lines: [{key: 'lr', label: 'learning rate', colour: '--c3'}], log: false},
    grad: {title: 'Gradient norm', lines: [
      {key: 'grad_norm', label: 'gradient norm', colour: '--c7', width: 1.2}]},
  };

  function runCharts(section, run) {
    const group = crossHairGroup();
    const phases = run.phases;
    const domain = phases.length === 0 ? [0, 1]
      : [phases[0].first + phases[0].offset, phases[phases.length - 1].last + phases[phases.length - 1].offset];
    for (const [name, template] of Object.entries(CHARTS)) {
      const level = template.level && run[template.level] !== undefined ? {label: 'τ', y: run[template.level]} : null;
      const lines = template.lines.map(line => ({...line, ...run.series[line.key]}));
      chartOrNothing(section.querySelector(`[data-chart=${name}]`), {...template, lines, level, phases, domain}, group);
    }
    const drawn = new Set(Object.values(CHARTS).flatMap(spec => spec.lines.map(line => line.key)));
    otherChart(section.querySelector('[data-chart=other]'), run, Object.keys(run.series).filter(key => !drawn.has(key)),
      {phases, domain});
    const longest = Math.max(0, ...Object.values(run.series).map(series => series.logged));
    const points = Math.max(0, ...Object.values(run.series).map(series => series.x.length));
    if (longest > points) {
      section.querySelector('.hint').append(
        ` Of ${whole(longest)} logged steps, the smallest and largest value of every ${Math.round(2 * longest / points)} are drawn.`);
    }
    if (phases.length === 0) section.querySelector('.hint').remove();
  }

  function otherChart(figure, run, keys, axes) {
    if (keys.length === 0) { figure.remove(); return; }
    const choice = el('select', {'aria-label': 'Quantity'}, ...keys.map(key => el('option', {}, key)));
    const place = el('div');
    figure.prepend(el('div', {class: 'controls'}, choice), place);
    const draw = () => {
      place.replaceChildren();
      const line = {...run.series[choice.value], label: choice.value, colour: '--c6', width: 1.6};
      chartOrNothing(place, {...axes, title: choice.value, lines: [line]}, crossHairGroup());
    };
    choice.addEventListener('change', draw);
    draw();
  }

  function comparison(section) {
    const last = Math.max(1, ...runs.flatMap(run => run.phases.map(phase => phase.last + phase.offset)));
    const group = crossHairGroup();
    const lines = keys => runs.map((run, i) => ({
      label: run.name, colour: '--c' + (i % 8), dash: DASHES[i % DASHES.length], width: 1.8,
      ...keys.map(key => run.series[key]).find(series => series)}));
    chartOrNothing(section.querySelector('[data-compare=loss]'),
      {title: 'Loss', unit: 'nats per token', lines: lines(['ce_average', 'valid_ce', 'ce']), phases: [], domain: [0, last]}, group);
    chartOrNothing(section.querySelector('[data-compare=edges]'),
      {title: 'Edges per query', unit: 'keys per query and head', log: true,
        lines: lines(['edges_per_query', 'valid_edges_per_query']), phases: [], domain: [0, last]}, group);
    if (!section.querySelector('figure')) section.remove();
  }

  // ---- Attention ----------------------------------------------------------------------------

  function pairOfCanvases(attention, figure, label) {
    const canvases = {};
    const pair = el('div', {class: 'pair'});
    pair.style.setProperty('--models', Math.min(2, attention.models.length));
    for (const model of attention.models) {
      const title = el('h4');
      const canvas = el('canvas', {role: 'img', 'aria-label': `${label}, ${model} model`});
      const holder = el('div', {}, title, canvas);
      pair.append(holder);
      canvases[model] = {canvas, holder, title};
    }
    figure.prepend(pair);
    return canvases;
  }

  /** Which answer character stands above which token: at the question marks, or else at the end. */
  function answers(prompt) {
    if (!prompt.answer) return {};
    const letters = Array.from(prompt.answer);
    const slots = range(prompt.tokens.length).filter(i => prompt.tokens[i] === '?');
    const places = slots.length === letters.length ? slots
      : range(letters.length).map(i => prompt.tokens.length - letters.length + i);
    return Object.fromEntries(letters.map((letter, i) => [places[i], letter]));
  }

  function wiring(figure, attention, state) {
    const MOST = 30000;
    const canvases = pairOfCanvases(attention, figure, 'Wiring');
    const slider = el('input', {type: 'range', min: 0, max: 0.5, step: 0.01, value: state.threshold});
    const shown = el('output');
    const buttons = range(attention.heads).map(head => {
      const swatch = el('i');
      swatch.style.background = `var(--c${head % 12})`;
      const button = el('button', {type: 'button', class: 'head', 'aria-pressed': 'true'}, swatch, `head ${head}`);
      button.addEventListener('click', () => {
        if (state.hiddenHeads.has(head)) state.hiddenHeads.delete(head); else state.hiddenHeads.add(head);
        button.setAttribute('aria-pressed', String(!state.hiddenHeads.has(head)));
        redraws.forEach(redraw => redraw());
      });
      return button;
    });
    figure.prepend(el('div', {class: 'controls'},
      el('label', {}, el('span', {class: 'name'}, 'smallest weight drawn'), slider, shown)),
      el('div', {class: 'controls', role: 'group', 'aria-label': 'Heads'}, ...buttons));
    slider.addEventListener('input', () => {
      state.threshold = Number(slider.value);
      redraws.forEach(redraw => redraw());
    });
    const redraws = attention.models.map(model => onePicture(model, canvases[model]));
    return () => redraws.forEach(redraw => redraw());

    function onePicture(model, {canvas, holder, title}) {
      let view = null;
      let focus = null;

      let cached = {};

      /** Sorted edges; kept from one drawing to the next, as long as the choice is the same. */
      function edgesToDraw() {
        const choice = [state.chosen, state.threshold, ...state.hiddenHeads].join();
        if (cached.choice !== choice) cached = {choice, edges: findEdges()};
        return cached.edges;
      }

      function findEdges() {
        const prompt = state.prompt();
        const map = pattern(attention, prompt, model);
        const found = [];
        for (let l = 0; l < attention.layers; l++) {
          for (let h = 0; h < attention.heads; h++) {
            if (state.hiddenHeads.has(h)) continue;
            for (let q = 0; q < prompt.tokens.length; q++) {
              for (let k = 0; k <= q; k++) {
                const weight = map.weight(l, h, q, k);
                if (weight > 0 && weight >= state.threshold && map.open(l, h, q, k)) found.push({l, h, q, k, weight});
              }
            }
          }
        }
        found.sort((a, b) => a.weight - b.weight);
        return found.slice(-MOST);
      }

      /** The edges through which anything can reach a dot, by edges and the residual stream. */
      function upstream(edges, dot) {
        const reached = range(attention.layers + 1).map(() => new Set());
        reached[dot.row].add(dot.token);
        const lit = new Set();
        for (let row = dot.row; row > 0; row--) {
          for (const token of reached[row]) reached[row - 1].add(token);
          for (const edge of edges) {
            if (edge.l === row - 1 && reached[row].has(edge.q)) {
              lit.add(edge);
              reached[row - 1].add(edge.k);
            }
          }
        }
        return {lit, reached};
      }

      function draw(width) {
        const prompt = state.prompt();
        const count = prompt.tokens.length;
        const ink = colours();
        const left = 46, right = 10;
        const step = (width - left - right) / count;
        const font = clamp(Math.floor(step * 0.75), 9, 14);
        const room = tokenRoom(prompt.tokens, 10);
        const upright = room * font * 0.62 <= Math.max(step, font);
        const top = prompt.answer ? 44 : upright ? 26 : 10;
        const gap = clamp(Math.round(560 / attention.layers), 40, 104);
        const height = top + gap * attention.layers + (upright ? 34 : 18 + room * font * 0.62);
        const ctx = prepare(canvas, width, height);
        const x = token => left + (token + 0.5) * (width - left - right) / count;
        const y = row => top + gap * (attention.layers - row);
        const spread = Math.min(3, step * 0.5 / attention.heads);
        const thickness = 2.6 * Math.min(1, step / 22);
        const edges = edgesToDraw();
        const light = focus ? upstream(edges, focus) : null;
        shown.textContent = state.threshold.toFixed(2);
        title.replaceChildren(model, el('span', {}, (edges.length === MOST ? ` · the ${whole(MOST)} strongest edges` : ` · ${whole(edges.length)} edges of at least ${state.threshold.toFixed(2)}`)));

        ctx.strokeStyle = ink.rule;
        ctx.setLineDash([1, 4]);
        ctx.lineWidth = 1;
        for (let token = 0; token < count; token++) {
          ctx.beginPath();
          ctx.moveTo(x(token), y(0));
          ctx.lineTo(x(token), y(attention.layers));
          ctx.stroke();
        }
        ctx.setLineDash([]);
        const palette = range(attention.heads).map(colourOf);
        for (const edge of edges) {
          const dim = light && !light.lit.has(edge);
          const shift = (edge.h - (attention.heads - 1) / 2) * spread;
          const from = [x(edge.k) + shift, y(edge.l)];
          const to = [x(edge.q) + shift, y(edge.l + 1)];
          ctx.globalAlpha = (0.12 + 0.88 * edge.weight) * (dim ? 0.1 : 1);
          ctx.lineWidth = 0.5 + thickness * edge.weight;
          ctx.strokeStyle = palette[edge.h];
          ctx.beginPath();
          ctx.moveTo(...from);
          ctx.bezierCurveTo(from[0], from[1] - gap * 0.45, to[0], to[1] + gap * 0.45, ...to);
          ctx.stroke();
        }
        ctx.globalAlpha = 1;
        for (let row = 0; row <= attention.layers; row++) {
          for (let token = 0; token < count; token++) {
            const lit = light && light.reached[row].has(token);
            const chosen = focus && focus.row === row && focus.token === token;
            ctx.fillStyle = chosen ? ink.accent : !light || lit ? ink.ink : ink.rule;
            ctx.beginPath();
            ctx.arc(x(token), y(row), chosen ? 4.5 : Math.min(2.4, step / 5), 0, 7);
            ctx.fill();
          }
        }
        const every = Math.ceil((font + 1) / step);
        const answer = answers(prompt);
        for (let token = 0; token < count; token++) {
          if (token % every !== 0 && answer[token] === undefined) continue;
          const text = clip(visible(prompt.tokens[token]), 10);
          ctx.font = labelFont(font);
          ctx.fillStyle = ink.ink;
          if (upright) {
            ctx.textAlign = 'center';
            ctx.textBaseline = 'alphabetic';
            ctx.fillText(text, x(token), y(0) + 20);
            ctx.fillStyle = ink.soft;
            ctx.fillText(text, x(token), y(attention.layers) - 9);
          } else {
            ctx.save();
            ctx.translate(x(token), y(0) + 9);
            ctx.rotate(-Math.PI / 2);
            ctx.textAlign = 'right';
            ctx.textBaseline = 'middle';
            ctx.fillText(text, 0, 0);
            ctx.restore();
          }
          ctx.textAlign = 'center';
          ctx.textBaseline = 'alphabetic';
          if (answer[token] !== undefined) {
            ctx.fillStyle = ink.ink;
            ctx.font = '600 ' + labelFont(font);
            ctx.fillText(answer[token], x(token), y(attention.layers) - 28);
          }
        }
        ctx.textAlign = 'left';
        ctx.font = labelFont(11);
        ctx.fillStyle = ink.soft;
        if (prompt.answer) ctx.fillText('answer', 0, y(attention.layers) - 28);
        ctx.fillText('input', 0, y(0) + 20);
        for (let l = 0; l < attention.layers; l++) {
          ctx.fillText(attention.layers > 9 ? `L${l}` : `layer ${l}`, 0, y(l) - gap / 2 + 4);
        }
        view = {x, y, step, gap, edges, prompt};
      }

      const redraw = redrawOnChange(holder, draw);
      const point = event => {
        const [px, py] = at(event);
        const token = range(view.prompt.tokens.length).reduce((a, b) => Math.abs(view.x(b) - px) < Math.abs(view.x(a) - px) ? b : a);
        const row = range(attention.layers + 1).reduce((a, b) => Math.abs(view.y(b) - py) < Math.abs(view.y(a) - py) ? b : a);
        const near = Math.abs(view.x(token) - px) <= Math.max(8, view.step / 2) && Math.abs(view.y(row) - py) <= Math.min(26, view.gap / 2);
        const before = focus;
        focus = near ? {token, row} : null;
        if (String(before && [before.token, before.row]) !== String(focus && [token, row])) redraw();
        if (!near) { hideTip(); return; }
        const name = visible(view.prompt.tokens[token]);
        if (row === 0) { showTip(event, `${name} (${token}) as it enters the model`); return; }
        const into = view.edges.filter(edge => edge.l === row - 1 && edge.q === token).reverse();
        const list = into.slice(0, 8).map(edge =>
          `${visible(view.prompt.tokens[edge.k])} (${edge.k})  head ${edge.h}  ${edge.weight.toFixed(2)}`);
        if (into.length > 8) list.push(`and ${into.length - 8} more`);
        showTip(event, `${name} (${token}) in layer ${row - 1} reads`
          + (list.length ? '\n' + list.join('\n') : ' nothing'));
      };
      canvas.addEventListener('pointermove', point);
      canvas.addEventListener('pointerdown', point);
      canvas.addEventListener('pointerleave', () => { focus = null; hideTip(); redraw(); });
      return redraw;
    }
  }

  function grid(figure, attention, state, onChoice) {
    const canvases = pairOfCanvases(attention, figure, 'Attention of every layer and head');
    figure.prepend(mapLegend(attention));
    const redraws = attention.models.map(model => oneGrid(model, canvases[model]));
    return () => redraws.forEach(redraw => redraw());

    function oneGrid(model, {canvas, holder, title}) {
      let view = null;
      canvas.setAttribute('tabindex', 0);
      title.textContent = model;

      function draw(width) {
        const {layers, heads} = attention;
        const prompt = state.prompt();
        const count = prompt.tokens.length;
        const ink = colours();
        const gap = heads > 8 ? 4 : 8;
        const room = tokenRoom(prompt.tokens, 4);
        const labelled = (width - 24 - gap * heads) / heads / count >= 9;
        const left = 24 + (labelled ? 8 + room * 7 : 0);
        const side = Math.floor(Math.min(170, (width - left - gap * (heads - 1) - 2) / heads));
        const size = side / count;
        const top = 20;
        const height = top + layers * (side + gap) + (labelled ? 10 + room * 8 : 2);
        const ctx = prepare(canvas, width, height);
        const corner = (l, h) => [left + h * (side + gap), top + (layers - 1 - l) * (side + gap)];
        for (let l = 0; l < layers; l++) {
          for (let h = 0; h < heads; h++) {
            ctx.save();
            ctx.translate(...corner(l, h));
            drawMap(ctx, attention, prompt, model, l, h, size, ink);
            if (labelled) drawTokens(ctx, prompt.tokens, size, {left: h === 0, below: l === 0}, ink.soft, 4);
            if (state.layer === l && state.head === h) {
              ctx.strokeStyle = ink.accent;
              ctx.lineWidth = 2.5;
              ctx.strokeRect(-1.5, -1.5, side + 3, side + 3);
            }
            ctx.restore();
          }
          ctx.save();
          ctx.translate(11, corner(l, 0)[1] + side / 2);
          ctx.rotate(-Math.PI / 2);
          ctx.font = labelFont(11);
          ctx.fillStyle = ink.soft;
          ctx.textAlign = 'center';
          ctx.fillText(side < 44 ? `L${l}` : `layer ${l}`, 0, 0);
          ctx.restore();
        }
        ctx.font = labelFont(11);
        ctx.fillStyle = ink.soft;
        ctx.textAlign = 'center';
        ctx.textBaseline = 'alphabetic';
        for (let h = 0; h < heads; h++) ctx.fillText(side < 44 ? `H${h}` : `head ${h}`, corner(0, h)[0] + side / 2, 13);
        view = {left, top, side, gap, size, count, prompt};
      }

      const redraw = redrawOnChange(holder, draw);
      const locate = event => {
        const [px, py] = at(event);
        const h = Math.floor((px - view.left) / (view.side + view.gap));
        const row = Math.floor((py - view.top) / (view.side + view.gap));
        const l = attention.layers - 1 - row;
        if (h < 0 || h >= attention.heads || l < 0 || row < 0) return null;
        const k = Math.floor((px - view.left - h * (view.side + view.gap)) / view.size);
        const q = Math.floor((py - view.top - row * (view.side + view.gap)) / view.size);
        return {l, h, q, k, inside: q < view.count && k <= q};
      };
      const point = event => {
        const place = locate(event);
        if (!place) hideTip();
        else if (place.inside) showTip(event, edgeText(attention, view.prompt, model, place.l, place.h, place.q, place.k));
        else showTip(event, `${model}, layer ${place.l}, head ${place.h}`);
      };
      canvas.addEventListener('pointermove', point);
      canvas.addEventListener('pointerleave', hideTip);
      canvas.addEventListener('click', event => {
        const place = locate(event);
        if (place) onChoice(place.l, place.h);
      });
      canvas.addEventListener('keydown', event => {
        const move = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0]}[event.key];
        if (!move) return;
        event.preventDefault();
        onChoice(clamp(state.layer + move[0], 0, attention.layers - 1), clamp(state.head + move[1], 0, attention.heads - 1));
      });
      return redraw;
    }
  }

  function mapLegend(attention) {
    const ramp = el('span', {class: 'scale', role: 'img', 'aria-label': 'from pale to strong'});
    const stops = [0, 0.05, 0.1, 0.25, 0.5, 1];
    ramp.style.background = 'linear-gradient(to right, '
      + stops.map(weight => `rgba(var(--map), ${Math.sqrt(weight)}) ${Math.sqrt(weight) * 100}%`).join(', ') + ')';
    const legend = el('div', {class: 'controls'}, el('span', {class: 'name'}, 'weight 0'), ramp,
      el('span', {class: 'name'}, '1 (the middle is 0.25)'));
    if (attention.prompts.some(prompt => prompt.gates)) {
      const item = (kind, text) => el('span', {}, el('span', {class: 'key ' + kind}), text);
      legend.append(item('open', 'gate open'), item('closed', 'gate closed'), item('later', 'later token'));
    }
    return legend;
  }

  function zoom(figure, attention, state) {
    const canvases = pairOfCanvases(attention, figure, 'The chosen head');
    const list = el('details', {}, el('summary', {}, 'The edges of this head in words'), el('div'));
    figure.querySelector('figcaption').before(list);
    const redraws = attention.models.map(model => oneMap(model, canvases[model]));
    const words = () => {
      const prompt = state.prompt();
      list.lastChild.replaceChildren(...attention.models.map(model => el('p', {}, el('b', {}, model + ': '), sentence(prompt, model))));
    };
    words();
    return () => { redraws.forEach(redraw => redraw()); words(); };

    function sentence(prompt, model) {
      const map = pattern(attention, prompt, model);
      const found = [];
      prompt.tokens.forEach((_, q) => {
        for (let k = 0; k <= q; k++) {
          const weight = map.weight(state.layer, state.head, q, k);
          if (weight >= 0.01) found.push({q, k, weight});
        }
      });
      found.sort((a, b) => b.weight - a.weight);
      const name = i => `${visible(prompt.tokens[i])} (${i})`;
      const text = found.slice(0, 40).map(e => `${name(e.q)} reads ${name(e.k)} with ${e.weight.toFixed(2)}`).join('; ');
      const rest = found.length > 40 ? `; and ${found.length - 40} weaker ones` : '';
      return found.length ? text + rest + '.' : 'no edge of weight 0.01 or more.';
    }

    function oneMap(model, {canvas, holder, title}) {
      let view = null;
      function draw(width) {
        const prompt = state.prompt();
        const count = prompt.tokens.length;
        const ink = colours();
        const room = tokenRoom(prompt.tokens, 8);
        const left = 24 + room * 7.5;
        const size = Math.min(44, Math.floor((width - left - 4) / count * 2) / 2);
        const ctx = prepare(canvas, width, count * size + 12 + room * 8 + 16);
        title.replaceChildren(model, el('span', {}, ` · layer ${state.layer}, head ${state.head}`));
        ctx.translate(left, 2);
        drawMap(ctx, attention, prompt, model, state.layer, state.head, size, ink);
        if (size >= 28) writeWeights(ctx, prompt, size, ink);
        const upright = drawTokens(ctx, prompt.tokens, size, {left: true, below: true}, ink.ink, 8);
        ctx.font = labelFont(11);
        ctx.fillStyle = ink.soft;
        ctx.textAlign = 'left';
        ctx.textBaseline = 'top';
        ctx.fillText('key →', 0, count * size + (upright ? 22 : 8 + room * 8));
        ctx.save();
        ctx.translate(7 - left, count * size);
        ctx.rotate(-Math.PI / 2);
        ctx.textBaseline = 'middle';
        ctx.fillText('← query', 0, 0);
        ctx.restore();
        view = {left, size, count, prompt};
      }
      function writeWeights(ctx, prompt, size, ink) {
        const map = pattern(attention, prompt, model);
        ctx.font = labelFont(11);
        ctx.textAlign = 'center';
        ctx.textBaseline = 'middle';
        prompt.tokens.forEach((_, q) => {
          for (let k = 0; k <= q; k++) {
            const weight = map.weight(state.layer, state.head, q, k);
            if (weight < 0.005) continue;
            ctx.fillStyle = weight > 0.45 ? ink.paper : ink.ink;
            ctx.fillText(weight > 0.995 ? '1.0' : weight.toFixed(2).slice(1), (k + 0.5) * size, (q + 0.5) * size);
          }
        });
      }
      const redraw = redrawOnChange(holder, draw);
      const point = event => {
        const [px, py] = at(event);
        const k = Math.floor((px - view.left) / view.size);
        const q = Math.floor((py - 2) / view.size);
        if (k < 0 || q < 0 || q >= view.count || k > q) hideTip();
        else showTip(event, edgeText(attention, view.prompt, model, state.layer, state.head, q, k));
      };
      canvas.addEventListener('pointermove', point);
      canvas.addEventListener('pointerdown', point);
      canvas.addEventListener('pointerleave', hideTip);
      return redraw;
    }
  }

  function edgeTables(figure, attention) {
    const models = attention.models.filter(model => attention.edges[model]);
    if (models.length === 0) { figure.remove(); return; }
    const values = models.flatMap(model => attention.edges[model].flat());
    const most = Math.max(...values, 1e-9);
    const least = Math.max(most / 1000, Math.min(...values.filter(value => value > 0), most));
    const tint = value => value <= 0 || most === least ? (value > 0 ? 0.5 : 0)
      : 0.04 + 0.5 * clamp(Math.log(value / least) / Math.log(most / least), 0, 1);
    const pair = el('div', {class: 'pair'});
    pair.style.setProperty('--models', attention.heads > 8 ? 1 : Math.min(2, models.length));
    for (const model of models) {
      const rows = attention.edges[model];
      const short = value => value.toFixed(value < 100 ? 2 : 1);
      const mean = row => row.reduce((a, b) => a + b, 0) / row.length;
      const cells = row => row.map(value => {
        const cell = el('td', {}, short(value));
        cell.style.background = `rgba(var(--map), ${tint(value).toFixed(3)})`;
        return cell;
      });
      const head = el('tr', {}, el('td'), ...range(attention.heads).map(h => el('th', {scope: 'col'}, `head ${h}`)),
        el('th', {scope: 'col'}, 'mean'));
      const body = rows.map((row, l) => el('tr', {}, el('th', {scope: 'row'}, `layer ${l}`), ...cells(row),
        el('td', {}, short(mean(row))))).reverse();
      pair.append(el('div', {}, el('h4', {}, model, el('span', {}, ` · ${short(mean(rows.map(mean)))} edges per query in all`)),
        el('div', {class: 'scroll'}, el('table', {class: 'heat'}, el('thead', {}, head), el('tbody', {}, ...body)))));
    }
    figure.prepend(pair);
  }

  function attentionFigures(section, attention) {
    const state = {
      chosen: 0, layer: 0, head: 0, threshold: 0.05, hiddenHeads: new Set(),
      prompt: () => attention.prompts[state.chosen],
    };
    const find = name => section.querySelector(`[data-attention=${name}]`);
    const redraws = [];
    const redrawAll = () => redraws.forEach(redraw => redraw());
    promptChooser(section.querySelector('.prompts'), attention, state, redrawAll);
    redraws.push(wiring(find('wiring'), attention, state));
    redraws.push(grid(find('grid'), attention, state, (layer, head) => {
      Object.assign(state, {layer, head});
      redrawAll();
    }));
    redraws.push(zoom(find('zoom'), attention, state));
    edgeTables(find('edges'), attention);
  }

  function promptChooser(host, attention, state, redraw) {
    host.append(el('span', {class: 'name'}, 'prompt'));
    const choose = index => { state.chosen = index; redraw(); };
    const name = prompt => clip(visible(prompt.name).replace(/␣/g, ' '), 60);
    if (attention.prompts.length > 8) {
      const select = el('select', {'aria-label': 'Prompt'}, ...attention.prompts.map(prompt => el('option', {}, name(prompt))));
      select.addEventListener('change', () => choose(select.selectedIndex));
      host.append(select);
      return;
    }
    const buttons = attention.prompts.map((prompt, index) => {
      const button = el('button', {type: 'button', 'aria-pressed': String(index === 0)}, name(prompt));
      button.addEventListener('click', () => {
        buttons.forEach((other, i) => other.setAttribute('aria-pressed', String(i === index)));
        choose(index);
      });
      return button;
    });
    host.append(...buttons);
  }

  // ---- The page -----------------------------------------------------------------------------

  document.querySelectorAll('section.run').forEach(section => {
    const run = runs[Number(section.dataset.run)];
    runCharts(section, run);
    if (run.attention) attentionFigures(section, run.attention);
  });
  const compared = document.getElementById('comparison');
  if (compared) comparison(compared);

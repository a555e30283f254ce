#include "nn/inspect/report/script.h"

namespace moegrad::report {
namespace {

// Every part is a block of one function. `q` finds, `make` creates, `fig` is a figure and `data` what it carries.
constexpr const char* kStart = R"js(
(() => {
'use strict';
const root = document.documentElement;
const errors = [];
const complain = m => { errors.push(String(m)); root.dataset.errors = errors.join('; '); };
addEventListener('error', e => complain(e.message));
addEventListener('unhandledrejection', e => complain(e.reason));
const q = (s, from) => [...(from || document).querySelectorAll(s)];
const make = (parent, cls, tag) => { const e = document.createElement(tag || 'div'); e.className = cls; parent.appendChild(e); return e; };
const hash = new Set(location.hash.slice(1).split('&'));
for (const h of hash) if (/^theme=(light|dark)$/.test(h)) root.dataset.theme = h.slice(6);
const tip = make(document.body, '');
tip.id = 'tip';
tip.setAttribute('role', 'status');

const number = (v, digits = 5) => {
  if (v === null || v === undefined) return '\u2013';
  const a = Math.abs(v), minus = s => s.replace(/-/g, '\u2212');
  if (a !== 0 && (a < 1e-4 || a >= 1e15)) return minus(v.toExponential(digits - 1).replace(/\.?0+e/, 'e').replace('+', ''));
  if (Number.isInteger(v) && a < 1e7) return minus(v.toLocaleString('en-US'));
  for (const [size, unit] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']])
    if (a >= size) return minus(Number((v / (unit === 'k' ? 1e3 : size)).toPrecision(digits)) + unit);
  return minus(String(Number(v.toPrecision(digits))));
};

// rows: [class of the colour, name, value, remark]
const show = (x, y, head, rows) => {
  tip.replaceChildren();
  tip.className = '';
  if (head) make(tip, 'head').textContent = head;
  for (const [cls, name, value, remark] of rows) {
    const row = make(tip, 'row');
    if (cls) make(row, cls, 'i');
    make(row, '', 'span').textContent = name;
    if (value !== '') make(row, '', 'b').textContent = value;
    if (remark) make(row, '', 'em').textContent = remark;
  }
  tip.style.display = 'block';
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = Math.max(4, x + 16 + w > innerWidth ? x - w - 16 : x + 16) + 'px';
  tip.style.top = Math.max(4, Math.min(innerHeight - h - 4, y - h / 2)) + 'px';
};
const hide = () => { tip.style.display = 'none'; };
const onMove = (area, move, leave) => {
  const off = () => { hide(); if (leave) leave(); };
  area.addEventListener('pointermove', move);
  area.addEventListener('pointerdown', move);
  area.addEventListener('pointerleave', off);
  area.addEventListener('blur', off);
};
// Where the pointer is within an area, both in [0, 1].
const within = (area, e) => {
  const r = area.getBoundingClientRect();
  return [Math.min(.9999, Math.max(0, (e.clientX - r.left) / r.width)), Math.min(.9999, Math.max(0, (e.clientY - r.top) / r.height))];
};
// The place in a rising list that is nearest to v.
const nearest = (list, v) => {
  let a = 0, b = list.length - 1;
  while (b - a > 1) { const m = (a + b) >> 1; if (list[m] <= v) a = m; else b = m; }
  return Math.abs(list[b] - v) < Math.abs(list[a] - v) ? b : a;
};
)js";

constexpr const char* kCharts = R"js(
const lineChart = (fig, data) => {
  const area = q('.plot', fig)[0], cross = make(area, 'cross');
  const [x0, x1] = data.x, [y0, y1] = data.y;
  const series = data.s.map((s, k) => {
    const keep = s.y.map((v, i) => i).filter(i => s.y[i] !== null), pick = l => l ? keep.map(i => l[i]) : null;
    return {k, n: s.n, x: pick(s.x), y: pick(s.y), l: pick(s.l), h: pick(s.h), spot: make(area, 'spot e' + k)};
  }).filter(s => s.x.length);
  const up = v => data.log ? Math.log(v / y0) / Math.log(y1 / y0) : (v - y0) / (y1 - y0);
  const leave = () => { cross.style.display = 'none'; for (const s of series) s.spot.style.display = 'none'; };
  const at = (px, py, cx, cy) => {
    const want = x0 + px * (x1 - x0);
    let x = null;
    for (const s of series) { const c = s.x[nearest(s.x, want)]; if (x === null || Math.abs(c - want) < Math.abs(x - want)) x = c; }
    let found = series.map(s => ({s, i: nearest(s.x, x)}));
    found.sort((a, b) => Math.abs(up(a.s.y[a.i]) - 1 + py) - Math.abs(up(b.s.y[b.i]) - 1 + py));
    const more = found.length - 10;
    found = found.slice(0, 10).sort((a, b) => b.s.y[b.i] - a.s.y[a.i]);
    leave();
    cross.style.display = 'block';
    cross.style.left = 100 * (x - x0) / (x1 - x0) + '%';
    const rows = found.map(({s, i}) => {
      s.spot.style.display = 'block';
      s.spot.style.left = 100 * (s.x[i] - x0) / (x1 - x0) + '%';
      s.spot.style.top = 100 * (1 - up(s.y[i])) + '%';
      const far = Math.abs(s.x[i] - x) > (x1 - x0) / 200 ? 'at ' + number(s.x[i]) : '';
      const band = s.l && s.l[i] !== null && s.l[i] !== s.h[i] ? number(s.l[i], 4) + ' to ' + number(s.h[i], 4) : '';
      return ['e' + s.k, s.n, number(s.y[i]), [band, far].filter(Boolean).join(', ')];
    });
    if (more > 0) rows.push(['', 'and ' + more + ' more', '']);
    show(cx, cy, data.xl + ' ' + number(Number.isInteger(x) ? x : Number(x.toPrecision(6))), rows);
    fig.dataset.hovered = rows.length;
  };
  let here = .5;
  onMove(area, e => { const [px, py] = within(area, e); here = px; at(px, py, e.clientX, e.clientY); }, leave);
  area.addEventListener('keydown', e => {
    const step = {ArrowLeft: -.01, ArrowRight: .01}[e.key];
    if (!step) return;
    e.preventDefault();
    here = Math.min(1, Math.max(0, here + step));
    const r = area.getBoundingClientRect();
    at(here, .5, r.left + here * r.width, r.top + r.height / 2);
  });
};

const edges = x => x.length === 1 ? [x[0] - .5, x[0] + .5]
  : [x[0] - (x[1] - x[0]) / 2, ...x.slice(1).map((v, i) => (x[i] + v) / 2), x.at(-1) + (x.at(-1) - x.at(-2)) / 2];

// Heat maps, and maps of tokens and layers, whose columns are all as wide.
const grid = (fig, data) => {
  const area = q('.plot', fig)[0], mark = make(area, 'cell');
  const n = data.names ? data.names.length : data.cols.length;
  const edge = data.names ? [...Array(n + 1).keys()] : edges(data.cols), from = edge[0], width = edge[n] - from;
  onMove(area, e => {
    const [px, py] = within(area, e), want = from + px * width;
    let c = nearest(edge, want);
    if (edge[c] > want) --c;
    c = Math.max(0, Math.min(n - 1, c));
    const r = Math.floor(py * data.rows.length), v = data.v[r * n + c];
    Object.assign(mark.style, {display: 'block', left: 100 * (edge[c] - from) / width + '%', width: 100 * (edge[c + 1] - edge[c]) / width + '%',
      top: 100 * r / data.rows.length + '%', height: 100 / data.rows.length + '%'});
    const where = data.names ? 'token ' + c + ' \u201c' + data.names[c] + '\u201d, ' + data.rows[r]
      : data.yl + ' ' + data.rows[r] + ', ' + data.xl + ' ' + number(data.cols[c]);
    show(e.clientX, e.clientY, where, [['', data.vl, v === null && data.names ? 'goes around' : number(v)]]);
    fig.dataset.hovered = 1;
  }, () => { mark.style.display = 'none'; });
};

const barChart = (fig, data) => {
  const area = q('.plot', fig)[0];
  if (!area) return;
  onMove(area, e => {
    const i = Math.floor(within(area, e)[0] * data.labels.length);
    show(e.clientX, e.clientY, data.labels[i], data.g.map((g, k) =>
      ['e' + k, g.n, number(g.v[i]), g.l && g.l[i] !== null ? number(g.l[i], 4) + ' to ' + number(g.h[i], 4) : '']));
    fig.dataset.hovered = data.g.length;
  });
};
)js";

constexpr const char* kRoutes = R"js(
const routes = (fig, data) => {
  const things = q('.chars b,.patches b', fig), layers = q('[data-layer]', fig), experts = q('[data-expert]', fig);
  let layer = 0, only = -1;
  const bring = e => {
    fig.classList.toggle('dim', e >= 0);
    if (e >= 0) things.forEach((b, i) => b.classList.toggle('on', data.layers[layer].e[i] === e));
  };
  const paint = l => {
    layer = l;
    const {e, s} = data.layers[l];
    things.forEach((b, i) => { b.className = e[i] < 0 ? 'none' : 'e' + e[i] + ' w' + s[i]; });
    layers.forEach((b, i) => b.setAttribute('aria-pressed', i === l));
    if (only >= 0) bring(only);
  };
  layers.forEach((b, i) => b.addEventListener('click', () => paint(i)));
  experts.forEach((b, e) => {
    b.addEventListener('pointerenter', () => bring(e));
    b.addEventListener('pointerleave', () => bring(only));
    b.addEventListener('click', () => {
      only = only === e ? -1 : e;
      experts.forEach((o, i) => o.setAttribute('aria-pressed', i === only));
      bring(only);
    });
  });
  for (const b of q('.alone', fig))
    b.addEventListener('click', () => b.setAttribute('aria-pressed', fig.classList.toggle('bare')));
  const place = new Map(things.map((b, i) => [b, i]));
  const area = q('.chars,.pics', fig)[0];
  if (area && data.layers.length) onMove(area, e => {
    const i = place.get(e.target);
    if (i === undefined) return hide();
    const l = data.layers[layer], expert = l.e[i];
    const name = data.names.length ? 'character ' + i + ' \u201c' + data.names[i] + '\u201d'
      : 'patch ' + Math.floor(i % data.patches / data.columns) + ', ' + i % data.patches % data.columns;
    const rows = [expert < 0 ? ['', 'no expert', ''] : ['e' + expert, 'expert ' + expert, number(l.w[i], 3)]];
    if (l.d.length && l.d[i]) rows.push(['', l.d[i], '']);
    show(e.clientX, e.clientY, name + ', ' + l.n, rows);
    if (!data.names.length) tip.className = 'vivid';  // in the colours of pictures
    fig.dataset.hovered = 1;
  });
};

const kinds = {'line-chart': lineChart, 'heat-map': grid, 'depth-map': grid, 'bar-chart': barChart, 'routed-text': routes, 'routed-images': routes};
for (const fig of q('figure[data-figure]')) {
  const data = q('script.data', fig)[0], kind = kinds[fig.dataset.figure];
  if (data && kind) try { kind(fig, JSON.parse(data.textContent)); } catch (e) { complain(fig.id + ': ' + e); }
}
)js";

constexpr const char* kPage = R"js(
for (const b of q('.theme')) {
  b.hidden = false;
  b.addEventListener('click', () => {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme:dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
  });
}
for (const b of q('.copy')) {
  if (!navigator.clipboard) continue;
  b.hidden = false;
  b.addEventListener('click', () => navigator.clipboard.writeText(q('.command code')[0].textContent)
    .then(() => { b.textContent = 'Copied'; setTimeout(() => { b.textContent = 'Copy'; }, 1500); }, () => {}));
}
const links = q('nav a');
const near = new Set();
const follow = new IntersectionObserver(seen => {
  for (const s of seen) near[s.isIntersecting ? 'add' : 'delete']('#' + s.target.id);
  const first = links.find(a => near.has(a.getAttribute('href')));
  if (first) for (const a of links) a.classList.toggle('here', a === first);
}, {rootMargin: '-10% 0px -60% 0px'});
for (const s of q('section')) follow.observe(s);

// "#check": every part is used once, and what does not fit is named.
const check = () => {
  for (const fig of q('figure[data-figure]')) {
    for (const b of q('button', fig)) b.click();
    for (const b of q('[data-expert]', fig)) if (b.getAttribute('aria-pressed') === 'true') b.click();
    for (const b of q('.alone', fig)) b.click();
    const area = q('.chars b,.patches b', fig)[0] || q('.plot', fig)[0];
    if (!area) continue;
    const r = area.getBoundingClientRect();
    for (const f of [.1, .5, .9])
      area.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: r.left + f * r.width, clientY: r.top + r.height / 2}));
    area.dispatchEvent(new PointerEvent('pointerleave', {bubbles: true}));
    hide();
  }
  const wide = q('figure,section,header').filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.id || e.tagName);
  if (root.scrollWidth > innerWidth) wide.push('page');
  root.dataset.overflow = wide.join(' ');
  const clash = [];
  for (const axis of ['xt', 'yt']) for (const area of q('.plot')) {
    const r = q('.' + axis, area).filter(t => t.offsetWidth).map(t => t.getBoundingClientRect()).sort((a, b) => a.left - b.left || a.top - b.top);
    for (let i = 1; i < r.length; ++i)
      if (r[i].left < r[i - 1].right && r[i].top < r[i - 1].bottom && r[i - 1].top < r[i].bottom) clash.push(area.closest('figure').id + '.' + axis);
  }
  root.dataset.overlap = [...new Set(clash)].join(' ');
  Object.assign(root.dataset, {width: innerWidth, height: root.scrollHeight, dark: matchMedia('(prefers-color-scheme:dark)').matches});
  root.dataset.checked = q('figure[data-figure]').length;
};
if (hash.has('check')) requestAnimationFrame(() => { try { check(); } catch (e) { complain(e); } });
})();
)js";

}  // namespace

std::string script() { return std::string(kStart) + kCharts + kRoutes + kPage; }

}  // namespace moegrad::report

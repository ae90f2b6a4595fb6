"use strict";
// Texts of documents come from anywhere: they only ever become text nodes, never markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 20;
  const first = JSON.parse($("first").textContent);
  const topics = first.topics;
  const byId = new Map(topics.map((topic) => [topic.id, topic]));
  const real = topics.filter((topic) => topic.id !== -1).sort((a, b) => b.count - a.count);
  let documents = null;
  let experts = null;
  let selected = null;

  // ---- elements
  function add(element, properties, children) {
    for (const [key, value] of Object.entries(properties || {})) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }
  const h = (tag, properties, ...children) => add(document.createElement(tag), properties, children);
  const s = (tag, properties, ...children) => add(document.createElementNS(SVG, tag), properties, children);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colourOf = (topic) => colour(topic.colour < 0 ? "--quiet-point" : `--c${topic.colour}`);
  const dot = (topic) => h("span", { class: `dot ${topic.colour < 0 ? "none" : "c" + topic.colour}`, "aria-hidden": "true" });
  const count = (value) => value.toLocaleString("en");
  const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.01 ? 1 : 0)} %`;
  const expertName = (expert) => `L${expert.layer} E${expert.expert}`;
  const topicName = (id) => (byId.has(id) ? byId.get(id).name : `Topic ${id}`);
  const topicButton = (id, note) => h("button", { type: "button", class: "chip", onclick: () => openTopic(id) },
    byId.has(id) ? dot(byId.get(id)) : null, h("span", { class: "name" }, topicName(id)), note ? h("small", {}, note) : null);
  const topicLink = (id) => h("button", { type: "button", class: "link", onclick: () => openTopic(id) }, topicName(id));

  // ---- the documents, unpacked after the first paint
  function bytesOf(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  }
  async function unpack() {
    const bytes = bytesOf($("packed").textContent.trim());
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // ---- the map
  const points = (() => {
    const read = (name, Kind) => new Kind(bytesOf(first.map[name]).buffer);
    return { x: read("x", Uint16Array), y: read("y", Uint16Array), topic: read("topic", Uint16Array), row: read("row", Uint32Array) };
  })();
  const map = (() => {
    const canvas = $("map"), context = canvas.getContext("2d"), tip = $("map-tip"), card = $("map-card");
    const view = { scale: 1, x: 0.5, y: 0.5 };
    const byTopic = topics.map(() => []);
    for (let i = 0; i < points.topic.length; i++) byTopic[points.topic[i]].push(i);
    const CELLS = 96, grid = new Map();
    const cell = (x, y) => Math.min(CELLS - 1, Math.floor(x * CELLS / 65536)) * CELLS + Math.min(CELLS - 1, Math.floor(y * CELLS / 65536));
    for (let i = 0; i < points.x.length; i++) {
      const key = cell(points.x[i], points.y[i]);
      if (!grid.has(key)) grid.set(key, []);
      grid.get(key).push(i);
    }
    // The first view leaves out the few points far from all others; zooming out shows them.
    const home = (() => {
      const middle = (values) => { const sorted = Float64Array.from(values).sort(), at = (share) => sorted[Math.round(share * (sorted.length - 1))] / 65535; return sorted.length ? [at(0.005), at(0.995)] : [0, 1]; };
      const [left, right] = middle(points.x), [top, bottom] = middle(points.y);
      return { x: (left + right) / 2, y: (top + bottom) / 2, width: Math.max(right - left, 0.02) * 1.06, height: Math.max(bottom - top, 0.02) * 1.06 };
    })();
    Object.assign(view, { x: home.x, y: home.y });
    let width = 0, height = 0, frame = 0, drag = null, moved = false;
    const fingers = new Map();
    const inner = () => [Math.max(width - 40, 1), Math.max(height - 40, 1)];
    const side = () => Math.min(inner()[0] / home.width, inner()[1] / home.height) * view.scale;
    // A wide box is filled by widening the map, at most 1.7 times: UMAP's axes have no units.
    const stretch = () => Math.min(1.7, Math.max(1, inner()[0] / home.width / (inner()[1] / home.height)));
    const toX = (x) => width / 2 + (x / 65535 - view.x) * side() * stretch();
    const toY = (y) => height / 2 + (y / 65535 - view.y) * side();
    const fromX = (px) => (px - width / 2) / side() / stretch() + view.x;
    const fromY = (py) => (py - height / 2) / side() + view.y;
    const draw = () => { if (!frame) frame = requestAnimationFrame(paint); };
    function dots(indices, radius) {
      context.beginPath();
      for (const i of indices) {
        const x = toX(points.x[i]), y = toY(points.y[i]);
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        context.moveTo(x + radius, y);
        context.arc(x, y, radius, 0, 6.2832);
      }
      context.fill();
    }
    function paint() {
      frame = 0;
      const ratio = window.devicePixelRatio || 1;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      const radius = Math.min(5, Math.max(1, (points.x.length > 8000 ? 1.25 : points.x.length > 2000 ? 1.8 : 2.8) * Math.sqrt(view.scale)));
      const order = topics.map((topic, place) => place).sort((a, b) => topics[a].colour - topics[b].colour);
      for (const place of order) {
        const topic = topics[place], quiet = topic.id === -1 || (selected !== null && topic.id !== selected);
        if (topic.id === selected) continue;
        context.globalAlpha = quiet ? 0.4 : 0.72;
        context.fillStyle = quiet ? colour("--quiet-point") : colourOf(topic);
        dots(byTopic[place], quiet ? radius * 0.85 : radius);
      }
      const chosen = topics.findIndex((topic) => topic.id === selected);
      context.globalAlpha = 1;
      if (chosen >= 0) {
        context.fillStyle = topics[chosen].id === -1 ? colour("--ink") : colourOf(topics[chosen]);
        dots(byTopic[chosen], radius * 1.35);
      }
      names();
    }
    function names() {
      const taken = [];
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.lineJoin = "round";
      const most = Math.round(Math.min(60, (width < 500 ? 10 : 22) * view.scale));
      let shown = 0;
      for (const topic of selected !== null && byId.has(selected) ? [byId.get(selected)] : real) {
        if (shown >= most || topic.id === -1) break;
        const x = toX(topic.at[0] * 65535), y = toY((1 - topic.at[1]) * 65535) - (points.x.length < 2000 ? 16 : 0);
        if (x < 0 || y < 0 || x > width || y > height) continue;
        context.font = `600 ${shown < 10 ? 13 : 12}px system-ui, sans-serif`;
        const text = topic.name.length > 30 ? topic.name.slice(0, 28) + "…" : topic.name;
        const half = context.measureText(text).width / 2 + 5;
        const centre = Math.min(Math.max(x, half + 2), width - half - 2);
        if (taken.some((box) => Math.abs(box[0] - centre) < box[2] + half && Math.abs(box[1] - y) < 19)) continue;
        taken.push([centre, y, half]);
        shown++;
        context.lineWidth = 4;
        context.strokeStyle = colour("--panel");
        context.globalAlpha = 0.9;
        context.strokeText(text, centre, y);
        context.globalAlpha = 1;
        context.fillStyle = colour("--ink");
        context.fillText(text, centre, y);
      }
    }
    function nearest(px, py) {
      const x = fromX(px) * 65535, y = fromY(py) * 65535, reach = Math.max(1, Math.ceil(10 / side() * CELLS));
      const column = Math.floor(x * CELLS / 65536), row = Math.floor(y * CELLS / 65536);
      let best = -1, shortest = 100;
      for (let a = Math.max(0, column - reach); a <= Math.min(CELLS - 1, column + reach); a++) {
        for (let b = Math.max(0, row - reach); b <= Math.min(CELLS - 1, row + reach); b++) {
          for (const i of grid.get(a * CELLS + b) || []) {
            const far = (toX(points.x[i]) - px) ** 2 + (toY(points.y[i]) - py) ** 2;
            if (far < shortest && (selected === null || topics[points.topic[i]].id === selected || far < 25)) { shortest = far; best = i; }
          }
        }
      }
      return best;
    }
    function hover(event) {
      const i = nearest(event.offsetX, event.offsetY);
      tip.hidden = i < 0;
      if (i < 0) return;
      const topic = topics[points.topic[i]], row = points.row[i];
      const text = documents ? documents.texts[row].slice(0, 180) : "";
      tip.replaceChildren(h("b", {}, topic.name), text);
      const left = Math.min(event.offsetX + 14, width - tip.offsetWidth - 6);
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${event.offsetY + 18 + tip.offsetHeight > height ? event.offsetY - tip.offsetHeight - 10 : event.offsetY + 18}px`;
    }
    function zoom(factor, px = width / 2, py = height / 2) {
      const x = fromX(px), y = fromY(py);
      view.scale = Math.min(60, Math.max(0.2, view.scale * factor));
      view.x += x - fromX(px);
      view.y += y - fromY(py);
      zoomed();
    }
    function reset() { Object.assign(view, { scale: 1, x: home.x, y: home.y }); zoomed(); }
    function zoomed() { $("map-zoom").textContent = `${view.scale.toFixed(view.scale < 10 ? 1 : 0)} ×`; draw(); }
    function move(dx, dy) { view.x -= dx / side() / stretch(); view.y -= dy / side(); draw(); }
    function resize() {
      const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
      if (!box.width) return;
      width = box.width; height = box.height;
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
      paint();
    }
    // Two fingers: what lay between them stays between them. One finger scrolls the page, as everywhere else on it.
    const hold = () => { const [a, b] = [...fingers.values()]; return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, apart: Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1) }; };
    function pinch(event) {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.size === 2 ? hold() : null;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (!before) return;
      const after = hold(), box = canvas.getBoundingClientRect();
      moved = true; tip.hidden = true;
      move(after.x - before.x, after.y - before.y);
      zoom(after.apart / before.apart, after.x - box.left, after.y - box.top);
    }
    for (const name of ["touchstart", "touchmove"]) canvas.addEventListener(name, (event) => { if (event.touches.length > 1 && event.cancelable) event.preventDefault(); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (!fingers.size) moved = false;
      if (event.pointerType === "touch") return void fingers.set(event.pointerId, [event.clientX, event.clientY]);
      drag = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return pinch(event);
      if (!drag) return hover(event);
      const dx = event.clientX - drag[0], dy = event.clientY - drag[1];
      if (!moved && Math.abs(dx) + Math.abs(dy) < 4) return;
      moved = true; tip.hidden = true; canvas.classList.add("moving");
      drag = [event.clientX, event.clientY];
      move(dx, dy);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => { fingers.delete(event.pointerId); drag = null; canvas.classList.remove("moving"); });
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("click", (event) => {
      if (moved) return;
      const i = nearest(event.offsetX, event.offsetY);
      select(i < 0 ? null : topics[points.topic[i]].id);
    });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = 60;
      const action = { "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: reset, Escape: () => select(null),
        ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0), ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step) }[event.key];
      if (action) { event.preventDefault(); action(); }
    });
    $("map-in").addEventListener("click", () => zoom(1.6));
    $("map-out").addEventListener("click", () => zoom(1 / 1.6));
    $("map-reset").addEventListener("click", reset);
    $("map-topic").append(...topics.filter((topic) => topic.id !== -1).map((topic) => h("option", { value: topic.id }, topic.name)));
    if (byId.has(-1)) $("map-topic").append(h("option", { value: -1 }, "Outliers"));
    $("map-topic").addEventListener("change", (event) => select(event.target.value === "" ? null : Number(event.target.value)));
    if (first.map.shown < first.documents) $("map-note").textContent = `${count(first.map.shown)} of ${count(first.documents)} documents, near points are alike`;
    function describe() {
      const topic = byId.get(selected);
      card.hidden = !topic;
      if (!topic) return;
      card.replaceChildren(h("b", {}, topic.name), " ", h("small", {}, `${count(topic.count)} documents`),
        h("p", {}, topic.words.slice(0, 8).map((word) => word[0]).join(", ")),
        h("button", { type: "button", onclick: () => openTopic(topic.id) }, "Open topic"), " ",
        h("button", { type: "button", onclick: () => showDocuments(topic.id) }, "Its documents"), " ",
        h("button", { type: "button", onclick: () => select(null) }, "Clear"));
    }
    new ResizeObserver(resize).observe(canvas);
    return { draw, describe, paint };
  })();
  function select(id, say = true) {
    selected = id;
    if (say) setLink(id === null ? "overview" : `overview?topic=${id}`);
    $("map-topic").value = id === null ? "" : String(id);
    for (const button of document.querySelectorAll(".topic-link")) button.setAttribute("aria-pressed", String(Number(button.dataset.topic) === id));
    map.describe();
    map.draw();
  }

  // ---- the table of topics
  const table = $("topic-table"), rows = [...table.tBodies[0].rows];
  const textOfRow = new Map(rows.map((row) => {
    const topic = byId.get(Number(row.dataset.id));
    const words = topic ? [topic.words, ...Object.values(topic.aspects)].flat().map((word) => word[0]) : [];
    return [row, `${row.textContent} ${words.join(" ")}`.toLowerCase()];
  }));
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("th"), key = button.dataset.key, name = key === "name";
    const before = head.getAttribute("aria-sort");
    const direction = before === "none" ? (name || key === "id" ? "ascending" : "descending") : before === "ascending" ? "descending" : "ascending";
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const compare = name ? (a, b) => a.dataset.name.localeCompare(b.dataset.name) : (a, b) => a.dataset[key] - b.dataset[key];
    table.tBodies[0].append(...rows.sort((a, b) => sign * compare(a, b)));
  });
  $("topic-search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => textOfRow.get(row).includes(word));
      shown += !row.hidden;
    }
    $("topic-count").textContent = shown === rows.length ? `${count(shown)} topics` : `${count(shown)} of ${count(rows.length)} topics`;
  });

  // ---- highlighted text
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  function marked(text, words, whole) {
    const parts = words.filter(Boolean).map(escaped).sort((a, b) => b.length - a.length);
    if (!parts.length) return [text];
    const pattern = whole ? `(?<![\\p{L}\\p{N}])(?:${parts.join("|")})(?![\\p{L}\\p{N}])` : parts.join("|");
    const pieces = [];
    let at = 0;
    for (const match of text.matchAll(new RegExp(pattern, "giu"))) {
      pieces.push(text.slice(at, match.index), h("mark", {}, match[0]));
      at = match.index + match[0].length;
    }
    return [...pieces, text.slice(at)];
  }
  const topicWords = (topic) => topic.words.flatMap((word) => [word[0], ...word[0].split(" ")]);
  // One paragraph that starts shortly before the first word looked for.
  function extract(text, words) {
    const line = text.replace(/\s+/g, " ").trim();
    if (line.length <= 420) return line;
    const places = words.map((word) => line.toLowerCase().indexOf(word.toLowerCase())).filter((place) => place >= 0);
    const start = places.length && Math.min(...places) > 300 ? Math.min(...places) - 120 : 0;
    return `${start ? "… " : ""}${line.slice(start, start + 400).trim()}${start + 400 < line.length ? " …" : ""}`;
  }
  function documentItem(row, words, whole) {
    const text = documents.texts[row], topic = byId.get(documents.topics[row]), short = extract(text, words);
    const body = h("p", { class: "text" }, marked(short, words, whole));
    const more = (short.length < text.length - 40 || text.split("\n").length > 3) && h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: (event) => {
      const open = event.target.getAttribute("aria-expanded") === "false";
      event.target.setAttribute("aria-expanded", String(open));
      event.target.textContent = open ? "Less" : "More";
      body.replaceChildren(...marked(open ? text : short, words, whole));
    } }, "More");
    const meta = h("div", { class: "meta" }, h("span", {}, documents.ids[row]), topic && topicButton(topic.id),
      labelOf(row) && h("span", {}, labelOf(row)), documents.times && documents.times[row] && h("span", {}, documents.times[row].slice(0, 10)),
      topic && topic.id !== -1 && documents.strengths[row] > 0 && h("span", {}, `membership ${documents.strengths[row]} %`), documents.cutRows.has(row) && h("span", {}, "text cut for the report"), more);
    return h("li", {}, meta, body);
  }
  const labelOf = (row) => (documents.labels && documents.labels[row] >= 0 ? first.labels[documents.labels[row]] : "");

  // ---- small charts
  function wordBars(words, shown = (weight) => weight.toPrecision(2)) {
    const most = Math.max(...words.map((word) => Math.abs(word[1])), 1e-9);
    return h("div", { class: "word-bars" }, words.map(([word, weight]) => [h("span", {}, word),
      s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "bar-value", width: Math.max(1, 100 * Math.abs(weight) / most), height: 10, rx: 1 })),
      h("span", { class: "num" }, shown(weight))]));
  }
  function trend(moments, times, top, wide) {
    const width = wide ? 560 : 260, height = wide ? 120 : 70, base = height - 16;
    const at = new Map(moments.map((moment) => [moment[1], moment]));
    const x = (i) => (times.length < 2 ? width / 2 : 4 + i * (width - 8) / (times.length - 1));
    const y = (value) => base - value / Math.max(top, 1) * (base - 12);
    const path = times.map((time, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(at.has(time) ? at.get(time)[2] : 0).toFixed(1)}`).join("");
    return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Documents over time, at most ${top}` },
      s("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }),
      s("path", { class: "trend-area", d: `${path}L${x(times.length - 1)} ${base}L${x(0)} ${base}Z` }), s("path", { class: "trend", d: path }),
      times.map((time, i) => s("rect", { x: x(i) - width / times.length / 2, y: 0, width: width / times.length, height: base, fill: "transparent" },
        s("title", {}, `${time.slice(0, 10)}: ${at.has(time) ? at.get(time)[2] + " documents – " + at.get(time)[3] : "none"}`))),
      s("text", { class: "soft", x: 0, y: height - 3 }, times[0].slice(0, 10)), s("text", { class: "soft", x: width, y: height - 3, "text-anchor": "end" }, times[times.length - 1].slice(0, 10)),
      s("text", { class: "soft", x: width, y: 10, "text-anchor": "end" }, `max ${count(top)}`));
  }
  const times = [...new Set(first.overTime.map((moment) => moment[1]))].sort();
  const momentsOf = new Map();
  for (const moment of first.overTime) momentsOf.set(moment[0], [...(momentsOf.get(moment[0]) || []), moment]);
  const highest = (moments) => Math.max(...moments.map((moment) => moment[2]), 1);

  // Blue is above the corpus, red below it; a cell is one expert. Log scale; mean routing differs by a tenth in some
  // models and tenfold in others, so the topic's own strongest cells set what full colour means.
  function heatmap(lift, listed) {
    const sizes = lift.flat().map((value) => Math.abs(Math.log2(Math.max(value, 0.05)))).sort((a, b) => a - b);
    const full = Math.min(2, Math.max(0.07, sizes[Math.floor(0.995 * (sizes.length - 1))]));
    const layers = lift.length, width = lift[0].length, size = Math.max(6, Math.min(16, Math.floor(640 / width)));
    const canvas = h("canvas", { class: "heat", width: width * size, height: layers * size, role: "img",
      "aria-label": `Lift of ${layers} layers by ${width} experts; those that stand out are listed beside it` });
    const context = canvas.getContext("2d"), up = colour("--heat"), down = colour("--heat-low");
    lift.forEach((line, layer) => line.forEach((value, expert) => {
      const strength = Math.max(-1, Math.min(1, Math.log2(Math.max(value, 0.05)) / full));
      context.fillStyle = `rgba(${strength > 0 ? up : down}, ${Math.abs(strength)})`;
      context.fillRect(expert * size, layer * size, size - 1, size - 1);
    }));
    context.strokeStyle = colour("--ink");
    context.lineWidth = 1.5;
    for (const pair of listed) context.strokeRect(pair.expert * size + 0.5, pair.layer * size + 0.5, size - 2, size - 2);
    const note = h("p", { class: "hint" }, `Rows are layers, the first on top; columns are experts. Blue: more than in the corpus, red: less, full colour from × ${(2 ** full).toFixed(2)} on; framed: listed here.`);
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const layer = Math.min(layers - 1, Math.floor((event.clientY - box.top) / box.height * layers)), expert = Math.min(width - 1, Math.floor((event.clientX - box.left) / box.width * width));
      if (layer >= 0 && expert >= 0) note.textContent = `Layer ${layer}, expert ${expert}: ${lift[layer][expert]} × the corpus`;
    });
    return [canvas, note];
  }

  // ---- one topic
  const panel = $("panel");
  let opened = null;
  function openTopic(id) {
    const topic = byId.get(id);
    if (!topic) return;
    opened = topic;
    fillPanel(topic);
    setLink(`topic-${id}`, !panel.open);
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
  }
  // Back closes the panel, and closing it goes back, so that a look at a topic leaves nothing behind in the history.
  // The event comes late: by then a quick "forward" has brought the next address, which is not to be taken back.
  let closedByAddress = false;
  panel.addEventListener("close", () => {
    const byAddress = closedByAddress;
    closedByAddress = false;
    if (byAddress || linkedTopic() === null) return;
    if (history.state === "panel") history.back();
    else setLink("topics");
  });
  function neighbour(id, step) {
    const place = real.findIndex((topic) => topic.id === id);
    return place < 0 ? null : real[place + step];
  }
  function fillPanel(topic) {
    const back = neighbour(topic.id, -1), next = neighbour(topic.id, 1);
    const turn = (to, text, name) => h("button", { type: "button", "aria-label": name, disabled: to ? null : "", onclick: () => openTopic(to.id) }, text);
    panel.replaceChildren(
      h("div", { class: "panel-head" }, dot(topic), h("h2", { id: "panel-title" }, topic.name, " ", h("small", {}, `${count(topic.count)} documents, ${percent(topic.count / Math.max(first.documents, 1))}`)),
        turn(back, "←", "Larger topic"), turn(next, "→", "Smaller topic"), h("button", { type: "button", "aria-label": "Close", onclick: () => panel.close() }, "✕")),
      h("div", { class: "panel-body" }, wordsPart(topic), h("div", {}, expertsPart(topic)), relatedPart(topic), documentsPart(topic)));
  }
  function wordsPart(topic) {
    const lists = { Words: topic.words, ...topic.aspects }, holder = h("div", {}, wordBars(topic.words));
    const tabs = Object.keys(lists).map((name, place) => h("button", { type: "button", "aria-pressed": String(place === 0), onclick: (event) => {
      for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === event.target));
      holder.replaceChildren(wordBars(lists[name]));
    } }, name));
    return h("div", {}, h("h3", {}, "Words"), tabs.length > 1 && h("div", { class: "tabs" }, tabs), holder, timePart(topic), labelPart(topic));
  }
  function timePart(topic) {
    const moments = momentsOf.get(topic.id);
    return moments && times.length > 1 ? [h("h3", {}, "Over time"), trend(moments, times, highest(moments), true)] : null;
  }
  function labelPart(topic) {
    if (!documents || !documents.labels) return null;
    const counts = new Map();
    documents.topics.forEach((id, row) => { if (id === topic.id && labelOf(row)) counts.set(labelOf(row), (counts.get(labelOf(row)) || 0) + 1); });
    const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 6);
    return top.length ? [h("h3", {}, "Labels"), wordBars(top, count)] : null;
  }
  function expertsPart(topic) {
    if (!document.getElementById("experts")) return null;
    if (!experts) return [h("h3", {}, "Experts"), h("p", {}, "Still unpacking…")];
    const found = experts.topics.find((other) => other.topic === topic.id);
    if (!found) return null;
    const list = found.experts.length ? h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Expert", "Lift", "95 % interval", "Spread", "Weight"].map((name, i) => h("th", { scope: "col", class: i ? "num" : null }, name)))),
      h("tbody", {}, found.experts.slice(0, 8).map((pair) => h("tr", {}, h("th", { scope: "row" }, expertName(pair)), h("td", { class: "num" }, `× ${pair.lift.toFixed(2)}`),
        h("td", { class: "num" }, `${pair.low.toFixed(2)} – ${pair.high.toFixed(2)}`), h("td", { class: "num" }, `+${pair.effect.toFixed(1)} sd`), h("td", { class: "num" }, percent(pair.weight))))))) : null;
    const said = found.significant ? `${count(found.significant)} of ${count(experts.layers * experts.experts)} experts get more weight here than chance allows.` : "No expert gets more weight here than chance allows.";
    return [h("h3", {}, "Experts"), h("p", {}, said), heatmap(found.lift, found.experts), list];
  }
  function relatedPart(topic) {
    const words = first.related[topic.id] || [], routing = (experts && experts.related[topic.id]) || [];
    const part = (name, list) => list.length ? h("div", {}, h("h3", {}, name), list.map(([id, value]) => topicButton(id, value.toFixed(2)))) : null;
    return h("div", { class: "full columns" }, part("Nearest by words", words), part("Nearest by routing", routing));
  }
  function documentsPart(topic) {
    if (!documents) return h("p", { class: "full" }, "Still unpacking the documents…");
    return h("div", { class: "full" }, h("h3", {}, "Representative documents"), h("ol", { class: "documents" }, topic.rows.map((row) => documentItem(row, topicWords(topic), true))),
      h("p", {}, h("button", { type: "button", onclick: () => showDocuments(topic.id) }, `All ${count(topic.count)} documents`), " ",
        h("button", { type: "button", onclick: () => { select(topic.id); panel.close(); $("overview").scrollIntoView(); } }, "Show on the map")));
  }
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-topic], button[data-documents]");
    if (!button) return;
    if (button.dataset.documents !== undefined) return showDocuments(Number(button.dataset.documents));
    const id = Number(button.dataset.topic);
    if (!button.classList.contains("topic-link")) return openTopic(id);
    select(selected === id ? null : id);
  });

  // ---- experts
  function layerChart(information) {
    const width = 560, height = 200, base = height - 22, left = 40, step = (width - left) / information.length;
    const top = Math.max(...information.map((layer) => Math.max(layer.information, layer.information_shuffled)), 0.01);
    const y = (value) => base - value / top * (base - 14), bar = Math.max(3, Math.min(22, step * 0.36));
    const ticks = [0, 0.5, 1].map((share) => [s("line", { class: "axis", x1: left, x2: width, y1: y(share * top), y2: y(share * top) }), s("text", { class: "soft", x: left - 6, y: y(share * top) + 4, "text-anchor": "end" }, percent(share * top))]);
    const bars = information.map((layer, i) => { const x = left + (i + 0.5) * step; return [
      s("rect", { class: "bar-value", x: x - bar, y: y(layer.information), width: bar, height: base - y(layer.information) }, s("title", {}, `Layer ${layer.layer}: ${percent(layer.information)}`)),
      s("rect", { class: "bar-control", x: x + 1, y: y(layer.information_shuffled), width: bar, height: base - y(layer.information_shuffled) }, s("title", {}, `Layer ${layer.layer}, topics shuffled: ${percent(layer.information_shuffled)}`)),
      s("text", { class: "soft", x, y: height - 6, "text-anchor": "middle" }, information.length > 30 && i % 4 ? "" : String(layer.layer))]; });
    const best = information.reduce((a, b) => (b.information - b.information_shuffled > a.information - a.information_shuffled ? b : a));
    return [s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Information about the topics in each layer's routing; the table below has the numbers" }, ticks, bars),
      h("p", { class: "hint" }, `Blue bars: the layer; grey bars: the same for shuffled topics. Layer ${best.layer} tells most: ${percent(best.information)}, by chance ${percent(best.information_shuffled)}.`)];
  }
  function bubbles(positions, ids) {
    const width = 560, height = 380, known = ids.map((id) => byId.get(id));
    const xs = positions.map((at) => at[0]), ys = positions.map((at) => at[1]);
    const scale = (values, from, to) => { const sorted = [...values].sort((a, b) => a - b), end = Math.floor(values.length * 0.04), low = sorted[end], span = Math.max(sorted[sorted.length - 1 - end] - low, 1e-9);
      return values.map((value) => from + Math.min(1.04, Math.max(-0.04, (value - low) / span)) * (to - from)); };
    const x = scale(xs, 40, width - 40), y = scale(ys, height - 30, 30), most = Math.max(...known.map((topic) => (topic ? topic.count : 0)), 1);
    const taken = [], svg = s("svg", { class: "bubbles", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Map of the topics; near topics are alike. Each topic's panel lists its nearest." });
    const marks = known.map((topic, i) => topic && s("circle", { class: "bubble", cx: x[i], cy: y[i], r: 4 + 16 * Math.sqrt(topic.count / most), fill: colourOf(topic), onclick: () => openTopic(topic.id) }, s("title", {}, `${topic.name}, ${count(topic.count)} documents`)));
    const texts = known.map((topic, i) => [topic, i]).filter(([topic]) => topic).sort((a, b) => b[0].count - a[0].count).map(([topic, i]) => {
      const text = topic.name.length > 22 ? topic.name.slice(0, 20) + "…" : topic.name, half = text.length * 3.3, at = Math.min(Math.max(x[i], half + 4), width - half - 4);
      if (taken.some((box) => Math.abs(box[0] - at) < box[2] + half && Math.abs(box[1] - y[i]) < 15)) return null;
      taken.push([at, y[i], half]);
      return s("text", { x: at, y: y[i] + 4, "text-anchor": "middle", "pointer-events": "none", stroke: colour("--panel"), "stroke-width": 3, "paint-order": "stroke" }, text);
    });
    svg.append(...marks.filter(Boolean), ...texts.filter(Boolean));
    return svg;
  }
  function surprises() {
    const found = experts.surprises;
    if (!found.length) return [h("p", {}, "No two topics share experts without sharing words.")];
    return [h("p", {}, "The model routes these topics through the same experts although they have hardly a word in common."),
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Two topics"), h("th", { scope: "col", class: "num" }, "routing"), h("th", { scope: "col", class: "num" }, "words"))),
        h("tbody", {}, found.map(([a, b, routing, shared]) => h("tr", {}, h("td", {}, topicLink(a), " – ", topicLink(b)), h("td", { class: "num" }, routing.toFixed(2)), h("td", { class: "num" }, shared.toFixed(2))))))];
  }
  function expertRows() {
    const serves = new Map(), users = new Map(experts.expert_documents.map((entry) => [expertName(entry), entry]));
    for (const topic of experts.topics) for (const pair of topic.experts) serves.set(expertName(pair), [...(serves.get(expertName(pair)) || []), { topic: topic.topic, ...pair }]);
    const chosen = $("expert-layer").value;
    const shown = [...serves].filter(([, pairs]) => chosen === "" || pairs[0].layer === Number(chosen)).map(([name, pairs]) => [name, pairs.sort((a, b) => b.lift - a.lift)]).sort((a, b) => b[1][0].lift - a[1][0].lift);
    $("expert-count").textContent = `${count(shown.length)} experts stand out for a topic`;
    $("expert-table").tBodies[0].replaceChildren(...shown.slice(0, 300).map(([name, pairs]) => {
      const user = users.get(name), row = user ? user.rows[0] : -1;
      return h("tr", {}, h("th", { scope: "row", class: "nowrap" }, name), h("td", {}, pairs.slice(0, 8).map((pair) => topicButton(pair.topic, `× ${pair.lift.toFixed(2)}`)), pairs.length > 8 && h("small", {}, `and ${pairs.length - 8} more`)),
        h("td", { class: "wide excerpt" }, row >= 0 ? [h("small", {}, `${documents.ids[row]} puts ${percent(user.weights[0])} of the layer here. `), documents.texts[row].slice(0, 160)] : null));
    }));
  }
  function drawExperts() {
    if (!experts || !$("experts")) return;
    $("layer-chart").replaceChildren(...layerChart(experts.information));
    $("surprises").replaceChildren(...surprises());
    drawBubbles();
    const layers = [...new Set(experts.topics.flatMap((topic) => topic.experts.map((pair) => pair.layer)))].sort((a, b) => a - b);
    $("expert-layer").append(...layers.map((layer) => h("option", { value: layer }, String(layer))));
    $("expert-layer").addEventListener("change", expertRows);
    expertRows();
  }
  function drawBubbles() {
    if (!experts || !$("experts")) return;
    $("word-map").replaceChildren(bubbles(first.wordMap, real.map((topic) => topic.id)));
    $("routing-map").replaceChildren(bubbles(experts.positions, experts.topics.map((topic) => topic.topic)));
  }

  // ---- hierarchy
  function drawTree() {
    if (!$("tree") || !first.hierarchy.length) return;
    const nodes = new Map(first.hierarchy.map(([parent, left, right, distance, name]) => [parent, { left, right, distance, name }]));
    const children = new Set(first.hierarchy.flatMap((row) => [row[1], row[2]]));
    const roots = [...nodes.keys()].filter((id) => !children.has(id)), leaves = [], order = [], stack = [...roots].reverse();
    while (stack.length) {
      const id = stack.pop();
      order.push(id);
      if (nodes.has(id)) stack.push(nodes.get(id).right, nodes.get(id).left);
      else leaves.push(id);
    }
    const room = $("tree").clientWidth || 1100, narrow = room < 700, row = 21, labels = narrow ? 150 : 250, longest = narrow ? 20 : 36, width = narrow ? Math.max(room, 280) : 1100, height = leaves.length * row + 12;
    const top = Math.max(...first.hierarchy.map((merger) => merger[3]), 1e-9), at = new Map(leaves.map((id, i) => [id, { x: labels, y: 14 + i * row }]));
    const lines = [];
    for (const id of order.reverse()) {
      const node = nodes.get(id);
      if (!node) continue;
      const a = at.get(node.left), b = at.get(node.right), x = labels + 10 + node.distance / top * (width - labels - 30);
      lines.push(s("path", { class: "branch", d: `M${a.x} ${a.y}H${x}V${b.y}H${b.x}` }, s("title", {}, `joins at ${node.distance}${node.name ? ": " + node.name : ""}`)));
      at.set(id, { x, y: (a.y + b.y) / 2 });
    }
    const names = leaves.map((id) => { const topic = byId.get(id), text = topicName(id); return s("a", { href: "#hierarchy", role: "button", onclick: (event) => { event.preventDefault(); openTopic(id); } },
      topic && s("circle", { cx: labels - 8, cy: at.get(id).y, r: 4, fill: colourOf(topic) }), s("text", { x: labels - 18, y: at.get(id).y + 4, "text-anchor": "end" }, text.length > longest ? text.slice(0, longest - 2) + "…" : text)); });
    $("tree").replaceChildren(s("svg", { viewBox: `0 0 ${width} ${height}`, width, height }, lines, names));
  }

  // ---- over time
  let allTimes = false;
  function drawTimes() {
    if (!$("time-charts") || times.length === 0) return;
    const ids = real.map((topic) => topic.id).filter((id) => momentsOf.has(id)), shown = allTimes ? ids : ids.slice(0, 12);
    const same = Math.max(...ids.map((id) => highest(momentsOf.get(id))), 1);
    $("time-more").hidden = allTimes || ids.length <= 12;
    $("time-charts").replaceChildren(...shown.map((id) => h("div", {}, h("h3", {}, topicLink(id)), trend(momentsOf.get(id), times, $("time-scale").value === "same" ? same : highest(momentsOf.get(id)), false))));
  }

  // ---- topics by labels
  let allRows = false;
  function drawConfusion() {
    if (!$("confusion") || !documents || !documents.labels) return;
    const mode = $("confusion-mode").value, counts = new Map(topics.map((topic) => [topic.id, new Array(first.labels.length).fill(0)]));
    documents.labels.forEach((label, row) => { if (label >= 0 && counts.has(documents.topics[row])) counts.get(documents.topics[row])[label]++; });
    const sizes = first.labels.map((_, label) => topics.reduce((sum, topic) => sum + counts.get(topic.id)[label], 0));
    const labels = sizes.map((_, label) => label).sort((a, b) => sizes[b] - sizes[a]).slice(0, 60).sort((a, b) => first.labels[a].localeCompare(first.labels[b]));
    const every = byId.has(-1) ? [...real, byId.get(-1)] : real, shown = allRows || every.length <= 26 ? every : [...real.slice(0, 25), ...every.slice(real.length)];
    $("confusion-more").hidden = shown.length === every.length;
    const most = Math.max(...shown.flatMap((topic) => counts.get(topic.id)), 1), heat = colour("--heat");
    const cells = (topic) => { const line = counts.get(topic.id), total = line.reduce((a, b) => a + b, 0) || 1; return labels.map((label) => {
      const share = mode === "topic" ? line[label] / total : mode === "label" ? line[label] / (sizes[label] || 1) : line[label] / most;
      const cell = h("td", { title: `${topic.name} × ${first.labels[label]}: ${count(line[label])} documents` }, line[label] === 0 ? "" : mode === "count" ? count(line[label]) : share < 0.005 ? "" : (100 * share).toFixed(0));
      cell.style.background = `rgba(${heat}, ${Math.min(0.62, share * 0.75)})`;
      return cell;
    }); };
    const more = first.labels.length > labels.length ? [h("caption", {}, `The ${labels.length} largest of ${count(first.labels.length)} labels.`)] : [];
    $("confusion").replaceChildren(...more, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, mode === "count" ? "documents" : "per cent"), labels.map((label) => h("th", { scope: "col" }, h("span", {}, first.labels[label]))))),
      h("tbody", {}, shown.map((topic) => h("tr", {}, h("th", { scope: "row" }, topicLink(topic.id)), cells(topic)))));
  }

  // ---- the documents explorer
  const found = { rows: [], page: 0, words: [], turn: 0 };
  let lowered = null;
  const pause = () => new Promise((resolve) => setTimeout(resolve));
  async function searchDocuments(page = 0) {
    if (!documents) return;
    const turn = ++found.turn, topic = $("document-topic").value, label = $("document-label") ? $("document-label").value : "";
    const words = $("document-search").value.toLowerCase().split(/\s+/).filter(Boolean), hits = [];
    if (words.length && !lowered) lowered = documents.texts.map((text, row) => `${text}\n${documents.ids[row]}`.toLowerCase());
    for (let row = 0; row < documents.texts.length; row++) {
      if (row % 20000 === 19999) { await pause(); if (turn !== found.turn) return; }
      if (topic !== "" && documents.topics[row] !== Number(topic)) continue;
      if (label !== "" && documents.labels[row] !== Number(label)) continue;
      if (words.length && !words.every((word) => lowered[row].includes(word))) continue;
      hits.push(row);
    }
    const strength = documents.strengths, order = $("document-order").value;
    const compare = { strength: (a, b) => strength[b] - strength[a], weak: (a, b) => strength[a] - strength[b], long: (a, b) => documents.texts[b].length - documents.texts[a].length }[order];
    if (compare) hits.sort((a, b) => compare(a, b) || a - b);
    Object.assign(found, { rows: hits, page: Math.min(page, Math.max(0, Math.ceil(hits.length / PAGE) - 1)), words });
    showPage();
  }
  function showPage() {
    const pages = Math.max(1, Math.ceil(found.rows.length / PAGE)), start = found.page * PAGE;
    $("document-count").textContent = found.rows.length === documents.texts.length ? `${count(found.rows.length)} documents` : `${count(found.rows.length)} of ${count(documents.texts.length)} documents`;
    $("document-list").start = start + 1;
    $("document-list").replaceChildren(...found.rows.slice(start, start + PAGE).map((row) => documentItem(row, found.words, false)));
    $("page-number").textContent = `Page ${count(found.page + 1)} of ${count(pages)}`;
    $("page-back").disabled = found.page === 0;
    $("page-next").disabled = found.page >= pages - 1;
  }
  function turnPage(step) { found.page += step; showPage(); setLink(searchLink()); $("documents").scrollIntoView(); }
  function searchAgain() { found.page = 0; setLink(searchLink()); searchDocuments(); }
  function showDocuments(topic) {
    $("document-topic").value = String(topic);
    $("document-search").value = "";
    if ($("document-label")) $("document-label").value = "";
    searchAgain();
    if (panel.open) panel.close();
    $("documents").scrollIntoView();
  }
  // The search as part of the address: labels by name, which survives another fit; fields left alone are not there.
  function searchLink() {
    const label = $("document-label") && $("document-label").value, order = $("document-order").value;
    const said = Object.entries({ q: $("document-search").value.trim(), topic: $("document-topic").value, label: label && first.labels[Number(label)], order: order === "row" ? "" : order, page: found.page ? found.page + 1 : "" });
    const asked = new URLSearchParams(said.filter(([, value]) => value)).toString();
    return asked ? `documents?${asked}` : "documents";
  }
  function choose(id, value) {
    if (!$(id)) return;
    $(id).value = value;
    if ($(id).selectedIndex < 0) $(id).selectedIndex = 0;
  }
  function readSearch(asked) {
    const label = first.labels.indexOf(asked.get("label"));
    $("document-search").value = asked.get("q") || "";
    choose("document-topic", asked.get("topic") || "");
    choose("document-label", label < 0 ? "" : String(label));
    choose("document-order", asked.get("order") || "row");
    return searchDocuments(Math.max(0, (Number.parseInt(asked.get("page"), 10) || 1) - 1));
  }
  // A spreadsheet takes a leading = + - @ for a formula.
  const field = (value) => `"${String(value).replace(/^([=+\-@\t\r\n＝＋－＠])/, "'$1").replace(/"/g, '""')}"`;
  function saveCsv() {
    if (!documents) return;
    const lines = [["id", "topic", "name", "label", "text"].join(",")];
    for (const row of found.rows) lines.push([field(documents.ids[row]), documents.topics[row], field(topicName(documents.topics[row])), field(labelOf(row)), field(documents.texts[row])].join(","));
    const link = h("a", { href: URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" })), download: "documents.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  let typing = 0;
  $("document-search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(searchAgain, 150); });
  $("document-form").addEventListener("submit", (event) => { event.preventDefault(); searchAgain(); });
  $("document-form").addEventListener("change", (event) => { if (event.target.tagName === "SELECT") searchAgain(); });
  $("document-csv").addEventListener("click", saveCsv);
  $("page-back").addEventListener("click", () => turnPage(-1));
  $("page-next").addEventListener("click", () => turnPage(1));
  $("document-topic").append(...real.map((topic) => h("option", { value: topic.id }, `${topic.name} (${count(topic.count)})`)));
  if (byId.has(-1)) $("document-topic").append(h("option", { value: -1 }, "Outliers"));
  if ($("document-label")) $("document-label").append(...first.labels.map((label, place) => h("option", { value: place }, label)));
  if ($("time-scale")) {
    $("time-scale").addEventListener("change", drawTimes);
    $("time-more").addEventListener("click", () => { allTimes = true; drawTimes(); });
  }
  if ($("confusion-mode")) {
    $("confusion-mode").addEventListener("change", drawConfusion);
    $("confusion-more").addEventListener("click", () => { allRows = true; drawConfusion(); });
  }

  // ---- links: #topic-7, #documents?q=space+orbit&topic=3, #overview?topic=7
  function setLink(link, push = false) {
    if (location.hash === `#${link}`) return;
    try {
      if (push) history.pushState("panel", "", `#${link}`);
      else history.replaceState(link.startsWith("topic-") ? history.state : null, "", `#${link}`);
    } catch { /* a page inside another one may have no address of its own */ }
  }
  function linkedTopic() {
    const match = /^#topic-(-?\d+)$/.exec(location.hash);
    return match && byId.has(Number(match[1])) ? Number(match[1]) : null;
  }
  async function follow() {
    const name = location.hash.slice(1).split("?")[0], asked = new URLSearchParams(location.hash.slice(name.length + 2)), topic = linkedTopic();
    if (topic !== null) return openTopic(topic);
    if (panel.open) {
      closedByAddress = true;
      panel.close();
    }
    if (name === "overview" && byId.has(Number(asked.get("topic") ?? NaN))) return select(Number(asked.get("topic")), false);
    if (name !== "documents" || location.hash === `#${searchLink()}`) return settle(name);
    const show = () => $("documents").scrollIntoView({ behavior: "instant" });
    show();
    await readSearch(asked);
    requestAnimationFrame(show);
  }
  // Chapters get their height when they come into view, which moves those below: a jump to one is done again.
  function settle(name, again = 3) {
    const chapter = document.getElementById(name);
    if (!chapter || chapter.tagName !== "SECTION") return;
    chapter.scrollIntoView({ behavior: "instant" });
    if (again) requestAnimationFrame(() => settle(name, again - 1));
  }
  let touched = false;
  for (const name of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(name, () => { touched = true; }, { once: true, passive: true });
  addEventListener("hashchange", follow);

  // ---- light and dark
  const remembered = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
  const asked = new URLSearchParams(location.search).get("theme") || remembered;
  if (asked === "light" || asked === "dark") document.documentElement.dataset.theme = asked;
  function repaint() { map.draw(); drawBubbles(); drawTree(); drawConfusion(); if (panel.open) fillPanel(opened); }
  $("theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* a page from a file may have no storage */ }
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  // Paper is white, also where the screen is dark; what is drawn on a canvas knows nothing of the print style.
  let screenTheme = null;
  function dress(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    repaint();
    map.paint();
  }
  addEventListener("beforeprint", () => { screenTheme = document.documentElement.dataset.theme || ""; dress("light"); });
  addEventListener("afterprint", () => { if (screenTheme !== null) dress(screenTheme); screenTheme = null; });

  drawTree();
  drawTimes();
  if (!location.hash.startsWith("#documents")) follow();
  document.addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => setTimeout(async () => {
    try {
      documents = await unpack();
    } catch (error) {
      $("document-count").textContent = `The documents could not be unpacked (${error.message}); they are in documents.parquet.`;
      return;
    }
    documents.cutRows = new Set(documents.cut);
    experts = documents.experts;
    drawExperts();
    drawConfusion();
    if (panel.open) fillPanel(opened);
    await searchDocuments();
    if (location.hash.startsWith("#documents")) await follow();
    else if (!touched && !panel.open) settle(location.hash.slice(1));
    document.documentElement.dataset.ready = "yes";
  })));
})();

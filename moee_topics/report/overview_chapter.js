// The document map, on a canvas, and which topic is picked on it.
let selected = null;
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
  // The first view is that of the topics, without the few points far from all others; zooming out shows those.
  const home = (() => {
    const inTopics = byTopic.flatMap((indices, place) => (topics[place].id === -1 ? [] : indices));
    const shown = inTopics.length ? inTopics : byTopic.flat();
    const middle = (axis) => {
      const sorted = Float64Array.from(shown, (i) => axis[i]).sort(), at = (share) => sorted[Math.round(share * (sorted.length - 1))] / 65535;
      return sorted.length ? [at(0.005), at(0.995)] : [0, 1];
    };
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
      const [text, wide] = fitted(topic.name, Math.min(200, width - 20), context.font);
      const half = wide / 2 + 5;
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
    tip.replaceChildren(h("b", { dir: "auto" }, topic.name), h("bdi", {}, text));
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
    card.replaceChildren(h("b", {}, h("bdi", {}, topic.name)), " ", h("small", {}, plural(topic.count, "document")),
      h("p", { dir: "auto" }, topic.words.slice(0, 8).map((word) => word[0]).join(", ")),
      h("button", { type: "button", "data-topic": topic.id }, "Open topic"), " ",
      h("button", { type: "button", "data-documents": topic.id }, "Its documents"), " ",
      h("button", { type: "button", onclick: () => select(null) }, "Clear"));
  }
  new ResizeObserver(resize).observe(canvas);
  return { draw, describe, paint };
})();
whenRepainted.push(map.paint);  // at once: paper does not wait for the next frame
function select(id, say = true) {
  selected = id;
  if (say) setLink(id === null ? "overview" : `overview?topic=${id}`);
  $("map-topic").value = id === null ? "" : String(id);
  for (const button of document.querySelectorAll(".topic-link")) button.setAttribute("aria-pressed", String(Number(button.dataset.topic) === id));
  map.describe();
  map.draw();
}

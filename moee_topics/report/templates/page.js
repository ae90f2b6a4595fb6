// The first of the page's scripts: what the panel, the chapters and the address after it share.
// Texts of documents come from anywhere: they only ever become text nodes, never markup.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const first = JSON.parse($("first").textContent);
const topics = first.topics;
const byId = new Map(topics.map((topic) => [topic.id, topic]));
const real = topics.filter((topic) => topic.id !== -1).sort((a, b) => b.count - a.count);
let documents = null;
let experts = null;

// A chapter puts here what it does once the documents are unpacked, and what it draws in other colours or widths.
const whenUnpacked = [];
const whenRepainted = [];
function repaint() { for (const draw of whenRepainted) draw(); }
// Draws into a place, and anew when its width changes: a telephone is turned, a window made wider.
function drawInto(place, draw) {
  let width = 0;
  const fit = () => { if (place.clientWidth && place.clientWidth !== width) { width = place.clientWidth; draw(); } };
  whenRepainted.push(draw);
  new ResizeObserver(fit).observe(place);
  width = place.clientWidth;
  draw();
}

// ---- light and dark
const dress = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
};
const remembered = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
const wished = new URLSearchParams(location.search).get("theme") || remembered;
if (wished === "light" || wished === "dark") dress(wished);
const systemDark = matchMedia("(prefers-color-scheme: dark)");
systemDark.addEventListener("change", repaint);
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (systemDark.matches ? "dark" : "light");
  dress(now === "dark" ? "light" : "dark");
  try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* a page from a file may have no storage */ }
  repaint();
});
// Paper is white, also where the screen is dark; what is drawn on a canvas knows nothing of the print style.
let screenTheme = null;
addEventListener("beforeprint", () => { screenTheme = document.documentElement.dataset.theme || ""; dress("light"); repaint(); });
addEventListener("afterprint", () => { if (screenTheme !== null) dress(screenTheme); screenTheme = null; repaint(); });

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
const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
// As as_percent of numerals.py: what is not all and not nothing does not read so.
function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share >= 0.9995 && share < 1) return "> 99.9 %";
  return `${(100 * share).toFixed((share > 0 && share < 0.0095) || (share > 0.99 && share < 1) ? 1 : 0)} %`;
}
const expertName = (expert) => `L${expert.layer} E${expert.expert}`;
const topicName = (id) => (byId.has(id) ? byId.get(id).name : `Topic ${id}`);
// What has data-topic opens that topic; the panel listens.
const topicLink = (id) => h("a", { class: "link", dir: "auto", href: `#topic-${id}`, "data-topic": id }, topicName(id));
const topicButton = (id, note) => h("button", { type: "button", class: "chip", "data-topic": id },
  byId.has(id) ? dot(byId.get(id)) : null, h("span", { class: "name", dir: "auto" }, topicName(id)), note ? h("small", {}, note) : null);

// A text that is cut where it would be wider than `room` pixels, and its width.
const ruler = document.createElement("canvas").getContext("2d");
function fitted(text, room, font = `12px ${getComputedStyle(document.body).fontFamily}`) {
  ruler.font = font;
  const letters = [...text];
  let kept = Math.min(letters.length, Math.ceil(room / 2)), shown = kept < letters.length ? `${letters.slice(0, kept).join("")}…` : text;
  while (kept > 1 && ruler.measureText(shown).width > room) shown = `${letters.slice(0, --kept).join("").trimEnd()}…`;
  return [shown, ruler.measureText(shown).width];
}

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
const labelOf = (row) => (documents.labels && documents.labels[row] >= 0 ? first.labels[documents.labels[row]] : "");
function documentItem(row, words, whole) {
  const text = documents.texts[row], topic = byId.get(documents.topics[row]), short = extract(text, words);
  const body = h("p", { class: "text", dir: "auto" }, short ? marked(short, words, whole) : h("small", {}, "(no text)"));
  const more = (short.length < text.length - 40 || text.split("\n").length > 3) && h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: (event) => {
    const open = event.target.getAttribute("aria-expanded") === "false";
    event.target.setAttribute("aria-expanded", String(open));
    event.target.textContent = open ? "Less" : "More";
    body.replaceChildren(...marked(open ? text : short, words, whole));
  } }, "More");
  const meta = h("div", { class: "meta" }, h("bdi", {}, documents.ids[row]), topic && topicButton(topic.id),
    labelOf(row) && h("bdi", { class: "name" }, labelOf(row)),
    documents.times && documents.times[row] && h("span", {}, documents.times[row].slice(0, 10)),
    topic && topic.id !== -1 && documents.strengths[row] > 0 && h("span", {}, `membership ${documents.strengths[row]} %`),
    documents.cutRows.has(row) && h("span", {}, "text cut for the report"), more);
  return h("li", {}, meta, body);
}

// ---- small charts
function wordBars(words, shown = (weight) => weight.toPrecision(2)) {
  const most = Math.max(...words.map((word) => Math.abs(word[1])), 1e-9);
  return h("div", { class: "word-bars" }, words.map(([word, weight]) => [h("bdi", {}, word),
    s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "bar-value", width: Math.max(1, 100 * Math.abs(weight) / most), height: 10, rx: 1 })),
    h("span", { class: "num" }, shown(weight))]));
}
function trend(moments, times, top, wide) {
  const width = wide ? 560 : 260, height = wide ? 120 : 80, base = height - 16;
  const at = new Map(moments.map((moment) => [moment[1], moment]));
  const x = (i) => (times.length < 2 ? width / 2 : 4 + i * (width - 8) / (times.length - 1));
  const y = (value) => base - value / Math.max(top, 1) * (base - 20);  // the largest number stands above the line
  const path = times.map((time, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(at.has(time) ? at.get(time)[2] : 0).toFixed(1)}`).join("");
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Documents over time, at most ${top}` },
    s("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }),
    s("path", { class: "trend-area", d: `${path}L${x(times.length - 1)} ${base}L${x(0)} ${base}Z` }), s("path", { class: "trend", d: path }),
    times.map((time, i) => s("rect", { x: x(i) - width / times.length / 2, y: 0, width: width / times.length, height: base, fill: "transparent" },
      s("title", {}, `${time.slice(0, 10)}: ${at.has(time) ? at.get(time)[2] + " documents – " + at.get(time)[3] : "none"}`))),
    s("text", { class: "soft", x: 0, y: height - 3 }, times[0].slice(0, 10)),
    s("text", { class: "soft", x: width, y: height - 3, "text-anchor": "end" }, times[times.length - 1].slice(0, 10)),
    s("text", { class: "soft", x: width, y: 10, "text-anchor": "end" }, `max ${count(top)}`));
}
const times = [...new Set(first.overTime.map((moment) => moment[1]))].sort();
const momentsOf = new Map();
for (const moment of first.overTime) momentsOf.set(moment[0], [...(momentsOf.get(moment[0]) || []), moment]);
const highest = (moments) => Math.max(...moments.map((moment) => moment[2]), 1);


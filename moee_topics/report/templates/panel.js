// One topic: its words, experts, relatives and documents, in a dialog above the page.
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
    h("div", { class: "panel-head" }, dot(topic), h("h2", { id: "panel-title" }, h("bdi", {}, topic.name), " ", h("small", {}, `${plural(topic.count, "document")}, ${percent(topic.count / Math.max(first.documents, 1))}`)),
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
    h("tbody", {}, found.experts.slice(0, 8).map((pair) => h("tr", {}, h("th", { scope: "row", class: "nowrap" }, expertName(pair)), h("td", { class: "num" }, `× ${pair.lift.toFixed(2)}`),
      h("td", { class: "num" }, `${pair.low.toFixed(2)} – ${pair.high.toFixed(2)}`), h("td", { class: "num" }, `+${pair.effect.toFixed(1)} sd`), h("td", { class: "num" }, percent(pair.weight))))))) : null;
  const said = found.significant ? `${count(found.significant)} of ${count(experts.layers * experts.experts)} experts get more weight here than chance allows.` : "No expert gets more weight here than chance allows.";
  return [h("h3", {}, "Experts"), h("p", {}, said), heatmap(found.lift, found.experts), list];
}
function relatedPart(topic) {
  const words = first.related[topic.id] || [], routing = ((experts && experts.related[topic.id]) || []).filter(([, value]) => value > 0);
  const part = (name, list) => list.length ? h("div", {}, h("h3", {}, name), list.map(([id, value]) => topicButton(id, value.toFixed(2)))) : null;
  return h("div", { class: "full columns" }, part("Nearest by words", words), part("Nearest by routing", routing));
}
function documentsPart(topic) {
  if (!documents) return h("p", { class: "full" }, "Still unpacking the documents…");
  return h("div", { class: "full" }, h("h3", {}, "Representative documents"), h("ol", { class: "documents" }, topic.rows.map((row) => documentItem(row, topicWords(topic), true))),
    h("p", {}, h("button", { type: "button", onclick: () => showDocuments(topic.id) }, topic.count === 1 ? "Its document" : `All ${count(topic.count)} documents`), " ",
      h("button", { type: "button", onclick: () => { select(topic.id); panel.close(); $("overview").scrollIntoView(); } }, "Show on the map")));
}
panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
const refillPanel = () => { if (panel.open) fillPanel(opened); };
whenUnpacked.push(refillPanel);
whenRepainted.push(refillPanel);
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-topic], [data-documents]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;  // a link that shall open elsewhere
  event.preventDefault();
  if (link.dataset.documents !== undefined) return showDocuments(Number(link.dataset.documents));
  const id = Number(link.dataset.topic);
  if (!link.classList.contains("topic-link")) return openTopic(id);
  select(selected === id ? null : id);
});

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

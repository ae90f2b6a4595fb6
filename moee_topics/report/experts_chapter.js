// The experts: where topics lie by words and by routing, and the table of experts with links.
const NAMED = 24;
function bubbles(place, positions, ids) {
  const width = Math.min(640, Math.max(place.clientWidth || 560, 280)), height = Math.max(Math.round(width * 0.68), 300);
  const known = ids.map((id, i) => ({ topic: byId.get(id), at: positions[i] })).filter((mark) => mark.topic);
  const most = Math.max(...known.map((mark) => mark.topic.count), 1);
  // A few topics far from all others would press these into a spot, so they stand at the edge.
  const along = (axis, from, to) => {
    const values = known.map((mark) => mark.at[axis]), sorted = [...values].sort((a, b) => a - b), end = Math.floor(values.length * 0.04);
    const low = sorted[end], span = Math.max(sorted[sorted.length - 1 - end] - low, 1e-9);
    return values.map((value) => from + Math.min(1.04, Math.max(-0.04, (value - low) / span)) * (to - from));
  };
  const x = along(0, 40, width - 40), y = along(1, height - 40, 34);
  const marks = known.map(({ topic }, i) => ({ topic, x: x[i], y: y[i], r: 4 + 16 * Math.sqrt(topic.count / most) * width / 600 })).sort((a, b) => b.topic.count - a.topic.count);
  const circles = marks.map((mark) => s("circle", { class: "bubble", cx: mark.x, cy: mark.y, r: mark.r, fill: colourOf(mark.topic), "data-topic": mark.topic.id }, s("title", {}, `${mark.topic.name}, ${plural(mark.topic.count, "document")}`)));
  return s("svg", { class: "bubbles", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Map of the topics; near topics are alike. Each topic's panel lists its nearest." }, circles, bubbleNames(marks, width, height));
}
// The names of the largest, below or above their bubble where there is room; where all could be named, none is left out.
function bubbleNames(marks, width, height) {
  const taken = [], limit = width < 500 ? 12 : NAMED, room = width < 500 ? 104 : 132;
  return marks.map((mark, place) => {
    const [text, wide] = fitted(mark.topic.name, room), x = Math.min(Math.max(mark.x, wide / 2 + 6), width - wide / 2 - 6);
    const lines = [9, -8, 24, -23, 39, -38].map((gap) => mark.y + gap + Math.sign(gap) * mark.r).filter((y) => y > 8 && y < height - 6);
    const free = lines.find((y) => !taken.some((box) => Math.abs(box.x - x) < (box.wide + wide) / 2 + 6 && Math.abs(box.y - y) < 15));
    if (free === undefined && marks.length > limit) return null;
    if (taken.length >= limit) return null;
    const y = free ?? lines[0] ?? mark.y;
    taken.push({ x, y, wide });
    return s("text", { x, y: y + 4, "text-anchor": "middle", "pointer-events": "none", stroke: colour("--panel"), "stroke-width": 3, "paint-order": "stroke" }, text);
  });
}
function expertRows() {
  const serves = new Map(), users = new Map(experts.expert_documents.map((entry) => [expertName(entry), entry]));
  for (const topic of experts.topics) for (const pair of topic.experts) serves.set(expertName(pair), [...(serves.get(expertName(pair)) || []), { topic: topic.topic, ...pair }]);
  const chosen = $("expert-layer").value;
  const shown = [...serves].filter(([, pairs]) => chosen === "" || pairs[0].layer === Number(chosen)).map(([name, pairs]) => [name, pairs.sort((a, b) => b.lift - a.lift)]).sort((a, b) => b[1][0].lift - a[1][0].lift);
  const listed = shown.slice(0, 300);
  $("expert-count").textContent = `${plural(shown.length, "expert")} stand${shown.length === 1 ? "s" : ""} out for a topic${listed.length < shown.length ? `; the first ${listed.length} are listed` : ""}`;
  $("expert-table").tBodies[0].replaceChildren(...listed.map(([name, pairs]) => {
    const user = users.get(name), row = user ? user.rows[0] : -1;
    return h("tr", {}, h("th", { scope: "row", class: "nowrap" }, name),
      h("td", {}, pairs.slice(0, 8).map((pair) => topicButton(pair.topic, `× ${pair.lift.toFixed(2)}`)), pairs.length > 8 && h("small", {}, `and ${pairs.length - 8} more`)),
      h("td", { class: "wide excerpt" }, row >= 0 && [h("small", {}, h("bdi", {}, documents.ids[row]), ` puts ${percent(user.weights[0])} of the layer here. `), h("bdi", {}, documents.texts[row].slice(0, 160))]));
  }));
}
whenUnpacked.push(() => {
  drawInto($("word-map"), () => $("word-map").replaceChildren(bubbles($("word-map"), first.wordMap, real.map((topic) => topic.id))));
  drawInto($("routing-map"), () => $("routing-map").replaceChildren(bubbles($("routing-map"), experts.positions, experts.topics.map((topic) => topic.topic))));
  const layers = [...new Set(experts.topics.flatMap((topic) => topic.experts.map((pair) => pair.layer)))].sort((a, b) => a - b);
  $("expert-layer").append(...layers.map((layer) => h("option", { value: layer }, String(layer))));
  $("expert-layer").addEventListener("change", expertRows);
  expertRows();
});

// Topics by labels: the table that is there, coloured, with other numbers and all topics where asked.
let allRows = false;
function drawConfusion() {
  if (!documents) return;
  const mode = $("confusion-mode").value, counts = new Map(topics.map((topic) => [topic.id, new Array(first.labels.length).fill(0)]));
  documents.labels.forEach((label, row) => { if (label >= 0 && counts.has(documents.topics[row])) counts.get(documents.topics[row])[label]++; });
  const sizes = first.labels.map((_, label) => topics.reduce((sum, topic) => sum + counts.get(topic.id)[label], 0));
  const labels = sizes.map((_, label) => label).sort((a, b) => sizes[b] - sizes[a]).slice(0, 60).sort((a, b) => a - b);
  const every = byId.has(-1) ? [...real, byId.get(-1)] : real, shown = allRows || every.length <= 26 ? every : [...real.slice(0, 25), ...every.slice(real.length)];
  $("confusion-more").hidden = shown.length === every.length;
  const most = Math.max(...shown.flatMap((topic) => counts.get(topic.id)), 1), heat = colour("--heat");
  const cells = (topic) => {
    const line = counts.get(topic.id), total = line.reduce((a, b) => a + b, 0) || 1;
    return labels.map((label) => {
      const share = mode === "topic" ? line[label] / total : mode === "label" ? line[label] / (sizes[label] || 1) : line[label] / most;
      const shownShare = share < 0.005 ? "" : (100 * share).toFixed(0);
      const cell = h("td", { title: `${topic.name} × ${first.labels[label]}: ${plural(line[label], "document")}` }, line[label] === 0 ? "" : mode === "count" ? count(line[label]) : shownShare);
      cell.style.background = `rgba(${heat}, ${Math.min(0.62, share * 0.75)})`;
      return cell;
    });
  };
  $("confusion").replaceChildren(
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, mode === "count" ? "documents" : "per cent"), labels.map((label) => h("th", { scope: "col", title: first.labels[label] }, h("span", {}, first.labels[label]))))),
    h("tbody", {}, shown.map((topic) => h("tr", {}, h("th", { scope: "row" }, topicLink(topic.id)), cells(topic)))));
}
$("confusion-mode").addEventListener("change", drawConfusion);
$("confusion-more").addEventListener("click", () => { allRows = true; drawConfusion(); });
whenUnpacked.push(drawConfusion);
whenRepainted.push(drawConfusion);

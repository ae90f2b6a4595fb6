// The documents: found, ordered, paged and saved.
const PAGE = 20;
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
  $("document-count").textContent = `${found.rows.length === documents.texts.length ? "" : `${count(found.rows.length)} of `}${plural(documents.texts.length, "document")}`;
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

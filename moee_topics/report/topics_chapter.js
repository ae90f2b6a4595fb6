// The table of topics: its search, and its order by the buttons in its head.
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
  $("topic-count").textContent = shown === rows.length ? plural(shown, "topic") : `${count(shown)} of ${plural(rows.length, "topic")}`;
});

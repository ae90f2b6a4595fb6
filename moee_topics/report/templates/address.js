// The last of the page's scripts. Links: #topic-7, #documents?q=space+orbit&topic=3, #overview?topic=7.
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

// ---- the start
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
  for (const draw of whenUnpacked) draw();
  await searchDocuments();
  if (location.hash.startsWith("#documents")) await follow();
  else if (!touched && !panel.open) settle(location.hash.slice(1));
  document.documentElement.dataset.ready = "yes";
})));

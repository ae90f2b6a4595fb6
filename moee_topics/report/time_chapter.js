// How often topics come up over time: a small chart for each, in place of the table.
let allTimes = false;
function drawTimes() {
  const ids = real.map((topic) => topic.id).filter((id) => momentsOf.has(id)), shown = allTimes ? ids : ids.slice(0, 12);
  const same = Math.max(...ids.map((id) => highest(momentsOf.get(id))), 1);
  const tallest = (id) => ($("time-scale").value === "same" ? same : highest(momentsOf.get(id)));
  $("time-more").hidden = allTimes || ids.length <= 12;
  $("time-charts").replaceChildren(...shown.map((id) => h("div", {}, h("h3", {}, topicLink(id)), trend(momentsOf.get(id), times, tallest(id), false))));
}
$("time-scale").addEventListener("change", drawTimes);
$("time-more").addEventListener("click", () => { allTimes = true; drawTimes(); });
drawTimes();

// Which topics join first, as a tree in place of the table.
const LEAF = 21;
const BAND = 40;  // leaves in one drawing: a tree of hundreds must break between the pages of a print
function drawTree() {
  const nodes = new Map(first.hierarchy.map(([parent, left, right, distance, name]) => [parent, { left, right, distance, name }]));
  const children = new Set(first.hierarchy.flatMap((row) => [row[1], row[2]]));
  const roots = [...nodes.keys()].filter((id) => !children.has(id)), leaves = [], order = [], stack = [...roots].reverse();
  while (stack.length) {
    const id = stack.pop();
    order.push(id);
    if (nodes.has(id)) stack.push(nodes.get(id).right, nodes.get(id).left);
    else leaves.push(id);
  }
  const width = Math.min(1100, Math.max($("tree").clientWidth || 1100, 280)), labels = Math.min(250, Math.round(width * 0.44));
  const distances = first.hierarchy.map((merger) => merger[3]), far = Math.max(...distances, 1e-9), near = Math.min(...distances);
  // From a little before the first join on: from 0 on, most of the tree would be parallel lines.
  const from = Math.max(0, near - 0.12 * (far - near || near));
  const across = (distance) => labels + 10 + (distance - from) / (far - from || 1) * (width - labels - 24);
  const at = new Map(leaves.map((id, i) => [id, { x: labels, y: (i + 0.5) * LEAF }])), branches = [];
  for (const id of order.reverse()) {
    const node = nodes.get(id);
    if (!node) continue;
    const a = at.get(node.left), b = at.get(node.right), x = across(node.distance);
    branches.push({ from: Math.min(a.y, b.y), to: Math.max(a.y, b.y), d: `M${a.x} ${a.y}H${x}V${b.y}H${b.x}`, title: `joins at ${node.distance}${node.name ? ": " + node.name : ""}` });
    at.set(id, { x, y: (a.y + b.y) / 2 });
  }
  const leaf = (id) => s("a", { href: `#topic-${id}`, "data-topic": id },
    byId.has(id) && s("circle", { cx: labels - 8, cy: at.get(id).y, r: 4, fill: colourOf(byId.get(id)) }),
    s("text", { x: labels - 18, y: at.get(id).y + 4, "text-anchor": "end" }, fitted(topicName(id), labels - 20)[0]));
  const bands = [];
  for (let start = 0; start < leaves.length; start += BAND) {
    const part = leaves.slice(start, start + BAND), top = start * LEAF, height = part.length * LEAF;
    const lines = branches.filter((branch) => branch.to >= top && branch.from <= top + height);
    bands.push(s("svg", { viewBox: `0 ${top} ${width} ${height}`, width, height },
      lines.map((branch) => s("path", { class: "branch", d: branch.d }, s("title", {}, branch.title))), part.map(leaf)));
  }
  $("tree").replaceChildren(...bands);
  $("tree-scale").textContent = `Drawn from distance ${from.toFixed(2)} on the left to ${far.toFixed(2)} on the right.`;
}
drawInto($("tree"), drawTree);

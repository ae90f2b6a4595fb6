"""Which experts fire for which topic."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from moee_topics.evaluate import ExpertReport
from moee_topics.fuse import METHODS
from moee_topics.report.chapter import Chapter
from moee_topics.report.documents_chapter import excerpt
from moee_topics.report.numerals import as_percent
from moee_topics.report.page_data import word_similarity
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Topic

EXPERTS_SHOWN = 300
SURPRISES = 7
LIKE_ROUTING = 0.2
UNLIKE_WORDS = 0.1
# Of the chart of the layers, in units of its drawing.
WIDTH, HEIGHT, LEFT, BASE, MOST_NUMBERS = 560, 200, 56, 176, 16


def experts(run: RunFolder) -> dict[str, Any] | None:
    """What is known of the experts, their table, and whether the topics were found by routing; None without experts."""
    if not run.experts:
        return None
    # A run of an older version can have no section, or a method that is gone.
    method = METHODS.get(str(run.section("fusion").get("method")))
    is_circular = method is not None and "routing_weights" in method.reads
    topics = {topic.topic: topic for topic in run.ranked_topics}
    layers = run.experts.information
    return {
        "experts": run.experts,
        "expert_rows": expert_rows(run),
        "is_circular": is_circular,
        "chart": layer_chart(run.experts),
        "telling": max(layers, key=lambda layer: layer.information - layer.information_shuffled, default=None),
        "surprises": [(topics[a], topics[b], *like) for a, b, *like in alike_in_routing_only(run, run.experts)],
    }


def layer_chart(experts: ExpertReport) -> Markup:
    """What each layer's routing knows of the topics as bars, beside the same for shuffled topics."""
    step = (WIDTH - LEFT) / max(experts.layers, 1)
    top = max([0.01, *(max(layer.information, layer.information_shuffled) for layer in experts.information)])
    tick = Markup("<line class='axis' x1='{}' x2='{}' y1='{y:.1f}' y2='{y:.1f}'/>") + Markup(
        "<text class='soft' x='{}' y='{:.1f}' text-anchor='end'>{}</text>"
    )
    bar = Markup("<rect class='{}' x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}'><title>{}</title></rect>")
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = BASE - share * (BASE - 14)
        parts.append(tick.format(LEFT, WIDTH, LEFT - 6, y + 4, as_percent(share * top), y=y))
    every = 1 if experts.layers <= MOST_NUMBERS else 4
    for layer in experts.information:
        x, wide = LEFT + (layer.layer + 0.5) * step, max(2.0, min(22.0, 0.36 * step))
        for kind, value, start, said in (
            ("bar-value", layer.information, x - wide, f"Layer {layer.layer}"),
            ("bar-control", layer.information_shuffled, x + 1, f"Layer {layer.layer}, topics shuffled"),
        ):
            tall = (BASE - 14) * value / top
            parts.append(bar.format(kind, start, BASE - tall, wide, tall, f"{said}: {as_percent(value)}"))
        if layer.layer % every == 0:
            number = Markup("<text class='soft' x='{:.1f}' y='{}' text-anchor='middle'>{}</text>")
            parts.append(number.format(x, HEIGHT - 4, layer.layer))
    name = "Information about the topics in each layer's routing; the table below has the numbers"
    frame = Markup("<svg viewBox='0 0 {} {}' role='img' aria-label=\"{}\">{}</svg>")
    return frame.format(WIDTH, HEIGHT, name, Markup("").join(parts))


def alike_in_routing_only(run: RunFolder, experts: ExpertReport) -> list[tuple[int, int, float, float]]:
    """Pairs of topics with like routing and hardly a word in common: both ids, routing and word similarity."""
    places = {topic.topic: place for place, topic in enumerate(run.ranked_topics)}
    shared = [(place, places[topic.topic]) for place, topic in enumerate(experts.topics) if topic.topic in places]
    by_routing, by_words = (
        np.array(column, dtype=int) for column in (zip(*shared, strict=True) if shared else ((), ()))
    )
    word_cosines = word_similarity(run.ranked_topics)[np.ix_(by_words, by_words)]
    routing = experts.similarity[np.ix_(by_routing, by_routing)] if shared else word_cosines
    pairs = np.argwhere(np.triu((routing >= LIKE_ROUTING) & (word_cosines < UNLIKE_WORDS), k=1))
    strongest = sorted(pairs.tolist(), key=lambda pair: -routing[pair[0], pair[1]])[:SURPRISES]
    ids = [experts.topics[place].topic for place in by_routing]
    return [(ids[a], ids[b], round(float(routing[a, b]), 2), round(float(word_cosines[a, b]), 2)) for a, b in strongest]


def expert_rows(run: RunFolder) -> list[dict[str, Any]]:
    """The table of experts as it stands where no script draws it: strongest first, with topics and heaviest user."""
    if run.experts is None:
        return []
    pairs = [(pair, topic.topic) for topic in run.experts.topics for pair in topic.experts]
    pairs.sort(key=lambda pair: -pair[0].lift)
    topics: dict[tuple[int, int], list[tuple[Topic, float]]] = {}
    for pair, topic in pairs:
        topics.setdefault((pair.layer, pair.expert), []).append((run.result.topic(topic), pair.lift))
    users = {(user.layer, user.expert): user.rows[0] for user in run.experts.expert_documents if user.rows}
    return [
        {
            "name": f"L{layer} E{expert}",
            "topics": served[:8],
            "user": excerpt(run, users[layer, expert]) if (layer, expert) in users else "",
        }
        # A large model has thousands of pairs, and the script draws them all: without it the strongest must do.
        for (layer, expert), served in list(topics.items())[:EXPERTS_SHOWN]
    ]


MARKUP = """\
  <h2 id="experts-title">Experts</h2>
  <p>For every token and in each of its {{ experts.layers }} layers, the model's router chooses among
    {{ experts.experts }} experts.
    A topic's experts are those that get more weight on its documents than on the corpus as a whole.
    {% if experts.threshold is none %}<b>No expert of any topic stands out from what shuffled topics show.</b>
    {% else %}Listed are only those above what {{ experts.shuffles }} shuffles of the topics give: at most
      {{ experts.fdr|read_percent }} of them are expected to be chance.
    The lift says how many times the corpus's weight an expert gets; its interval is a bootstrap over the topic's
      documents. A lift near 1 can still mark a topic where documents hardly differ: the spread says by how many
      standard deviations of a document the topic is above the corpus.{% endif %}</p>
  {% if is_circular %}<p class="note">The topics of this run were found with the routing weights among the embedding, so
    some link between topics and experts is there by construction. The shuffles rule out chance and uneven load, not
    that. Fit with <code>fusion.method=hidden_states</code> for a picture that does not lean on
    routing.</p>{% endif %}
  <div class="halves">
    <figure><figcaption>What each layer's routing knows of the topics <small>share of the topics' entropy that the
      most weighted expert gives away</small></figcaption>
      <div id="layer-chart">{{ chart }}</div>
      {% if telling %}<p class="hint">Blue bars: the layer; grey bars: the same for shuffled topics. Layer
        {{ telling.layer }} tells most: {{ telling.information|read_percent }}, by chance
        {{ telling.information_shuffled|read_percent }}.</p>{% endif %}
      <details class="on-screen"><summary>As a table</summary>
        <div class="scroll" role="region" aria-label="Layers" tabindex="0"><table>
        <thead><tr><th scope="col">Layer</th><th scope="col" class="num">Information</th>
          <th scope="col" class="num">shuffled</th><th scope="col" class="num">Topic recovered</th>
          <th scope="col" class="num">shuffled</th><th scope="col" class="num">Evenness of load</th></tr></thead>
        <tbody>{% for layer in experts.information %}<tr><th scope="row">{{ layer.layer }}</th>
          <td class="num">{{ layer.information|read_percent }}</td>
          <td class="num">{{ layer.information_shuffled|read_percent }}</td>
          <td class="num">{{ layer.recovered|read_percent }}</td>
          <td class="num">{{ layer.recovered_shuffled|read_percent }}</td>
          <td class="num">{{ layer.balance|read_percent }}</td></tr>{% endfor %}</tbody>
      </table></div><p class="hint">Topic recovered: the share of held-out documents whose topic has the nearest mean
        routing in this layer alone.</p></details>
    </figure>
    <div><h3 class="figure-title">Alike in routing, not in words</h3>
      {% if surprises %}<p>The model routes these topics through the same experts although they have hardly a word in
        common.</p>
      <table><thead><tr><th scope="col">Two topics</th><th scope="col" class="num">routing</th>
        <th scope="col" class="num">words</th></tr></thead>
        <tbody>{% for first, second, routing, words in surprises %}<tr>
          <td>{{ first|read_link }} – {{ second|read_link }}</td><td class="num">{{ routing|read_figure }}</td>
          <td class="num">{{ words|read_figure }}</td></tr>{% endfor %}</tbody></table>
      {% else %}<p>No two topics share experts without sharing words.</p>{% endif %}</div>
  </div>
  <div class="halves drawn">
    <figure><figcaption>Topics by their words</figcaption><div id="word-map"></div></figure>
    <figure><figcaption>Topics by their routing</figcaption><div id="routing-map"></div></figure>
  </div>
  <h3>Experts and the topics they serve</h3>
  <div class="tools"><label>Layer <select id="expert-layer"><option value="">all</option></select></label>
    <span id="expert-count" role="status"></span></div>
  <div class="scroll tall" role="region" aria-label="Experts" tabindex="0"><table id="expert-table"><thead><tr>
    <th scope="col">Expert</th><th scope="col">Topics it serves, with lift</th><th scope="col" class="wide">Its
    heaviest user</th></tr></thead><tbody>
    {% for row in expert_rows %}<tr><th scope="row" class="nowrap">{{ row.name }}</th><td>
      {% for topic, lift in row.topics %}{{ topic|read_link }} × {{ lift|read_figure }}{{ "; " if not loop.last }}
      {% endfor %}</td><td class="wide excerpt"><bdi>{{ row.user }}</bdi></td></tr>
    {% endfor %}
  </tbody></table></div>
"""

CHAPTER: Chapter = Chapter("experts", "Experts", experts, MARKUP, "experts_chapter.js")

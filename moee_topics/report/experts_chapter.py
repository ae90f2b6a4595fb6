"""Which experts fire for which topic."""

from __future__ import annotations

from typing import Any

from moee_topics.fuse import METHODS
from moee_topics.report.chapter import Chapter
from moee_topics.report.documents_chapter import excerpt
from moee_topics.run_folder import RunFolder, title

EXPERTS_SHOWN = 300


def experts(run: RunFolder) -> dict[str, Any] | None:
    """What is known of the experts, their table, and whether the topics were found by routing; None without experts."""
    if not run.experts:
        return None
    # A run of an older version can have no section, or a method that is gone.
    method = METHODS.get(str(run.section("fusion").get("method")))
    is_circular = method is not None and "routing_weights" in method.reads
    return {"experts": run.experts, "expert_rows": expert_rows(run), "is_circular": is_circular}


def expert_rows(run: RunFolder) -> list[dict[str, str]]:
    """The table of experts as it stands where no script draws it: strongest first, with topics and heaviest user."""
    if run.experts is None:
        return []
    pairs = [(pair, topic.topic) for topic in run.experts.topics for pair in topic.experts]
    pairs.sort(key=lambda pair: -pair[0].lift)
    topics: dict[tuple[int, int], list[str]] = {}
    for pair, topic in pairs:
        text = f"{title(run.result.topic(topic))} × {pair.lift:.2f}"
        topics.setdefault((pair.layer, pair.expert), []).append(text)
    users = {(user.layer, user.expert): user.rows[0] for user in run.experts.expert_documents if user.rows}
    return [
        {
            "name": f"L{layer} E{expert}",
            "topics": "; ".join(texts[:8]),
            "user": excerpt(run, users[layer, expert]) if (layer, expert) in users else "",
        }
        # A large model has thousands of pairs, and the script draws them all: without it the strongest must do.
        for (layer, expert), texts in list(topics.items())[:EXPERTS_SHOWN]
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
      <div id="layer-chart"></div>
      <details><summary>As a table</summary><div class="scroll" role="region" aria-label="Layers" tabindex="0"><table>
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
    <div><h3 class="figure-title">Alike in routing, not in words</h3><div id="surprises"></div></div>
  </div>
  <div class="halves">
    <figure><figcaption>Topics by their words</figcaption><div id="word-map"></div></figure>
    <figure><figcaption>Topics by their routing</figcaption><div id="routing-map"></div></figure>
  </div>
  <h3>Experts and the topics they serve</h3>
  <div class="tools"><label>Layer <select id="expert-layer"><option value="">all</option></select></label>
    <span id="expert-count" role="status"></span></div>
  <div class="scroll tall" role="region" aria-label="Experts" tabindex="0"><table id="expert-table"><thead><tr>
    <th scope="col">Expert</th><th scope="col">Topics it serves, with lift</th><th scope="col" class="wide">Its
    heaviest user</th></tr></thead><tbody>
    {% for row in expert_rows %}<tr><th scope="row" class="nowrap">{{ row.name }}</th><td>{{ row.topics }}</td>
      <td class="wide excerpt">{{ row.user }}</td></tr>
    {% endfor %}
  </tbody></table></div>
"""

CHAPTER: Chapter = Chapter("experts", "Experts", experts, MARKUP)

"""Labels of topics before a judge: do they fit documents of their topic rather than of its neighbours?

    SCIKIT_LEARN_DATA=../shared/data/scikit_learn_data moee-topics run 20newsgroups-pocket corpus.limit=2000 \\
        hdbscan.min_cluster_size=15 --name posts
    python -m benchmarks.labels runs/posts --model FOLDER_OF_A_CAUSAL_MODEL

Judged are the words of each topic, the plain name of the newsgroup that most of its posts come from, the words dealt
out at random, one label for all, and, with --model, what a causal model writes. As an upper bound for names, the
newsgroups themselves are judged as if they were topics. The judge is the run's own encoder, by all documents that it
keeps of a topic; with --model also that model, by few. Writes benchmarks/results/labels.json and prints it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale import machine
from moee_topics.evaluate import LabelCheck, chosen_by_cosine, count_votes, draw_ballots
from moee_topics.progress import Progress
from moee_topics.run import Predictor, check_labels, plan_labels
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_json
from moee_topics.topics import CheckSettings, LabelPrompt, LabelSettings, label_of, name_by_words

RESULTS = Path(__file__).with_name("results") / "labels.json"
EVERY, CHARACTERS = 100_000, 300
NAMES = {
    "alt.atheism": "Atheism",
    "comp.graphics": "Computer graphics and images",
    "comp.os.ms-windows.misc": "Microsoft Windows",
    "comp.sys.ibm.pc.hardware": "PC hardware, disks and cards",
    "comp.sys.mac.hardware": "Apple Macintosh hardware",
    "comp.windows.x": "X Window System",
    "misc.forsale": "Items for sale, price and shipping",
    "rec.autos": "Cars",
    "rec.motorcycles": "Motorcycles and bikes",
    "rec.sport.baseball": "Baseball",
    "rec.sport.hockey": "Ice hockey",
    "sci.crypt": "Encryption and cryptography",
    "sci.electronics": "Electronics and circuits",
    "sci.med": "Medicine and health",
    "sci.space": "Space flight and astronomy",
    "soc.religion.christian": "Christianity, God and the church",
    "talk.politics.guns": "Guns and gun control",
    "talk.politics.mideast": "Israel, Armenia and the Middle East",
    "talk.politics.misc": "American politics and government",
    "talk.religion.misc": "Religion and the Bible",
}


def labels_of(run: RunFolder) -> dict[str, dict[int, str]]:
    """Labels of several origins for the topics of a run."""
    topics, groups = run.ranked_topics, np.array(run.labels)
    words = {topic.topic: name_by_words(topic.words, topic.topic) for topic in topics}
    names = {topic: NAMES[Counter(groups[run.result.topics == topic]).most_common(1)[0][0]] for topic in words}
    dealt = np.random.default_rng(0).permutation([*words.values()]).tolist()
    return {
        "words": words,
        "names of newsgroups": names,
        "words dealt out at random": dict(zip(words, dealt, strict=True)),
        "one label for all": dict.fromkeys(words, "topic"),
    }


def written(run: RunFolder, model: str, words: Mapping[int, str]) -> tuple[dict[int, str], int]:
    """What a causal model writes, or the words where that is not taken; and how often that is."""
    questions = plan_labels(run.root, LabelSettings(model=model), every=True)
    labels, taken = dict(words), 0
    for prompt, answer in zip(questions.prompts, questions.ask(Progress()), strict=True):
        assert isinstance(prompt, LabelPrompt)
        label = label_of(answer)
        if not prompt.fault(label):
            labels[prompt.topic], taken = label, taken + 1
    return labels, taken


def newsgroups(folder: Path) -> LabelCheck:
    """The newsgroups judged as topics, each by its plain name."""
    predictor, run = Predictor.load(folder), RunFolder.read(folder)
    voters, groups = predictor.model.voters, sorted(NAMES)
    numbers = np.array([groups.index(label) for label in run.labels or []])[voters.rows]
    labels = {number: NAMES[group] for number, group in enumerate(groups)}
    ballots = draw_ballots(voters.vectors, numbers, EVERY, np.random.default_rng(0))
    vectors = predictor.vectors([*labels.values()])
    chosen = chosen_by_cosine(ballots, voters.vectors, dict(zip(labels, vectors, strict=True)))
    return count_votes("embedding", ballots, [*chosen], labels)


def row(check: LabelCheck) -> dict[str, Any]:
    """What is kept of a check: the headline, and each topic in a line."""
    facts = check.to_json()
    kept = {name: facts[name] for name in ("judge", "documents", "accuracy", "low", "high", "chance", "unanswered")}
    fits = [f"{fit.label}: {fit.right}/{fit.documents}" for fit in check.topics]
    return {**kept, "different_labels": len({fit.label for fit in check.topics}), "topics": fits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", help="a folder of a causal language model, which writes labels and judges some")
    parser.add_argument("--asked", type=int, default=5, help="documents of each topic that the model judges")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    run = RunFolder.read(options.run)
    labels, facts = labels_of(run), {"machine": machine(), "topics": run.result.topic_count}
    if options.model:
        labels["written by the model"], facts["names of the model taken"] = written(run, options.model, labels["words"])
    by_encoder = CheckSettings(documents=EVERY)
    facts["rows"] = {name: row(check_labels(options.run, by_encoder, labels=one)) for name, one in labels.items()}
    facts["rows"]["newsgroups as topics"] = row(newsgroups(options.run))
    if options.model:
        asked = CheckSettings("local", options.model, documents=options.asked, characters=CHARACTERS)
        facts["by the model"] = row(check_labels(options.run, asked, labels=labels["words"]))
    write_json(options.output, facts)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()

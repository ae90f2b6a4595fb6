"""Labels of topics before a judge: the run's own encoder, or a language model that answers with a letter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.evaluate import Ballot, LabelCheck, chosen_by_cosine, count_votes, draw_ballots
from moee_topics.progress import Progress
from moee_topics.run.asking import Questions
from moee_topics.run.versions import changing, renew_page
from moee_topics.run_folder import RunFolder, load_fitted_encoder, title
from moee_topics.topics import LETTER_TOKENS, BallotPrompt, CheckSettings, Voters


@dataclass(frozen=True)
class LabelTrial:
    """Labels, and the documents by which they are judged.

    Attributes:
        run: the version that holds.
        settings: who judges, and by how many documents.
        labels: of each topic, the largest first.
        voters: the documents of the fit with their vectors.
        ballots: the questions.
    """

    run: RunFolder
    settings: CheckSettings
    labels: Mapping[int, str]
    voters: Voters
    ballots: list[Ballot]

    @cached_property
    def questions(self) -> Questions[BallotPrompt]:
        """The ballots as questions to a language model, which is not loaded yet.

        Raises:
            ModelError: the model is missing or not supported.
        """
        texts, rows = self.run.result.texts, self.voters.rows
        prompts = [
            BallotPrompt.of(
                ballot.topic,
                texts[rows[ballot.place]],
                [self.labels[topic] for topic in ballot.choices],
                self.settings,
            )
            for ballot in self.ballots
        ]
        return Questions.to(self.settings, self.run.root, prompts, LETTER_TOKENS)

    def judged(self, progress: Progress) -> LabelCheck:
        """What the judge makes of the labels."""
        by_embedding = self.settings.provider == "embedding"
        chosen = self._chosen_by_embedding() if by_embedding else self._chosen_by_letter(progress)
        return count_votes(self.judge, self.ballots, chosen, self.labels)

    @property
    def is_judged(self) -> bool:
        """Whether the version holds what this judge made of these very labels."""
        held = self.run.label_check
        if held is None or held.get("settings") != asdict(self.settings):
            return False
        return {fit["topic"]: fit["label"] for fit in held["topics"]} == self.labels

    @property
    def judge(self) -> str:
        """Who judges, in a word; of a folder the name alone, since the rest is of this machine."""
        model = self.settings.model or str(self.run.encoder["options"]["model"])
        return f"{self.settings.provider} {Path(model).name if Path(model).is_dir() else model}"

    def _chosen_by_embedding(self) -> list[int | None]:
        embedder = Embedder(load_fitted_encoder(self.run, self.settings.device), rounds=True)
        texts = list(self.labels.values())
        vectors = self.run.fusion.transform(embedder.embed(texts), texts)
        return [*chosen_by_cosine(self.ballots, self.voters.vectors, dict(zip(self.labels, vectors, strict=True)))]

    def _chosen_by_letter(self, progress: Progress) -> list[int | None]:
        chosen = list[int | None]()
        for ballot, prompt, answer in zip(
            self.ballots, self.questions.prompts, self.questions.ask(progress), strict=True
        ):
            place = prompt.choice(answer)
            chosen.append(None if place is None else ballot.choices[place])
        return chosen


def plan_check(run: RunFolder, settings: CheckSettings, labels: Mapping[int, str] | None = None) -> LabelTrial:
    """What :func:`check_labels` would ask; no weight is loaded and nothing is sent.

    Raises:
        InputError: the run is not finished or has fewer than two topics, or a topic has no label.
    """
    current = run.current
    RunFolder.model.check(current)
    voters = Voters.load(RunFolder.model.path(current))
    of_topics = {topic.topic: title(topic) for topic in current.ranked_topics}
    if labels is not None:
        of_topics = {topic: str(labels.get(topic, "")).strip() for topic in of_topics}
    if nameless := [topic for topic, label in of_topics.items() if not label]:
        raise InputError(
            f"Topic {nameless[0]} has no label to judge. Expected one for each of {len(of_topics)} topics."
        )
    rng = np.random.default_rng(settings.seed)
    ballots = draw_ballots(voters.vectors, voters.topics, settings.documents, rng)
    return LabelTrial(current, settings, of_topics, voters, ballots)


def check_labels(
    folder: Path,
    settings: CheckSettings | None = None,
    *,
    labels: Mapping[int, str] | None = None,
    progress: Progress | None = None,
) -> LabelCheck:
    """Judges whether the label of each topic fits its documents rather than those of its neighbours.

    A judge chooses among five labels for each of some documents, that of its topic and of the four nearest topics. What
    it makes of the topics' names is kept in ``label_check.json`` of the version that holds, and shown in its report.

    Args:
        folder: of the run.
        settings: who judges, by default the run's own encoder, and by how many documents.
        labels: of every topic, to be judged in the place of the names; nothing is written then but answers of a model.
        progress: is told how far the work is.

    Raises:
        InputError: the run is not finished or has fewer than two topics, or a topic has no label.
        ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
    """
    progress = progress or Progress()
    with changing(Path(folder)) as run:
        trial = plan_check(run, settings or CheckSettings(), labels)
        check = trial.judged(progress)
        if labels is None:
            RunFolder.label_check.write(run.current, {**check.to_json(), "settings": asdict(trial.settings)})
            renew_page(run, progress)
    return check

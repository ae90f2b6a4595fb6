"""The order of things: embed, fit, report, run and predict; the only place that knows it."""

from __future__ import annotations

from moee_topics.progress import Progress
from moee_topics.run.encoding import Encoded, EncoderSource, corpus_of, embed, survey_of
from moee_topics.run.fitting import Fitted, check, fit
from moee_topics.run.methods import METHODS, parse_methods, run_methods
from moee_topics.run.predict import PredictedTopic, Predictor, predict
from moee_topics.run.runs import Run, StagePlan, report, run

__all__ = [
    "METHODS",
    "Encoded",
    "EncoderSource",
    "Fitted",
    "PredictedTopic",
    "Predictor",
    "Progress",
    "Run",
    "StagePlan",
    "check",
    "corpus_of",
    "embed",
    "fit",
    "parse_methods",
    "predict",
    "report",
    "run",
    "run_methods",
    "survey_of",
]

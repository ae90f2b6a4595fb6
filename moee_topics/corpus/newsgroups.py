"""20 Newsgroups through scikit-learn, from its cache where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from moee_topics.corpus.document import Record
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError
from moee_topics.progress import full_disk


def read_20newsgroups(settings: CorpusSettings) -> Iterator[Record]:
    """The posts in scikit-learn's order of files, the newsgroup as label."""
    from sklearn.datasets import fetch_20newsgroups

    offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it
    try:
        data = fetch_20newsgroups(
            data_home=settings.data_home,
            subset=settings.subset,
            remove=settings.remove,
            shuffle=False,
            download_if_missing=not offline,
        )
    except OSError as error:
        if full := full_disk(error, "Then run the same command again."):
            raise full from error
        raise InputError(
            f"20 Newsgroups is not in scikit-learn's cache and cannot be downloaded ({error}). Point corpus.data_home "
            "or the variable SCIKIT_LEARN_DATA to a folder that holds 20news-bydate_py3.pkz, or run once online."
        ) from error
    for text, target, filename in zip(data.data, data.target, data.filenames, strict=True):
        label = data.target_names[target]
        place = f"{label}/{Path(filename).name}"
        yield Record(place, text, id=place, label=label)

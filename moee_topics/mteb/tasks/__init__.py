"""mteb tasks: those of its registry, and labelled local files with mteb's own protocols.

A ``TaskSource`` makes a fresh task object for each evaluation, because mteb's tasks use up a random state: the same
object evaluated twice gives two scores. Clustering tasks report AMI and ARI beside V-measure, which is not corrected
for chance and grows with the number of clusters, and all three for shuffled labels.
"""

from moee_topics.mteb.tasks.cluster_scores import WITH_LABELS_SHUFFLED, add_cluster_scores
from moee_topics.mteb.tasks.hub_retries import without_retries
from moee_topics.mteb.tasks.labelled_files import LocalTask, LocalType, guess_type, read_rows
from moee_topics.mteb.tasks.local import local_task
from moee_topics.mteb.tasks.registry import benchmark_tasks, hub_task
from moee_topics.mteb.tasks.task_source import TaskSource, VersionedTask
from moee_topics.mteb.tasks.texts_and_labels import TextRecorder, clustering_rows, load, pair_rows, texts_of

__all__ = [
    "WITH_LABELS_SHUFFLED",
    "LocalTask",
    "LocalType",
    "TaskSource",
    "TextRecorder",
    "VersionedTask",
    "add_cluster_scores",
    "benchmark_tasks",
    "clustering_rows",
    "guess_type",
    "hub_task",
    "load",
    "local_task",
    "pair_rows",
    "read_rows",
    "texts_of",
    "without_retries",
]

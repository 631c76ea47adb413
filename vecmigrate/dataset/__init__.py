"""A frozen, content-hashed snapshot: chunks, queries split into train, dev and test, judgments, pairs and hard negatives.

JudgedLog + store ─► build_dataset ─► Dataset ─► training_pairs, graded_pairs, remine, dev_set │ queries("test"), judgments("test")
"""

from vecmigrate.dataset.building import build_dataset
from vecmigrate.dataset.exposure import met_in_training
from vecmigrate.dataset.frozen import Dataset, foreign_datasets, latest, list_datasets
from vecmigrate.dataset.pairs import DevSet, GradedPair, TrainingPair
from vecmigrate.dataset.remining import remine
from vecmigrate.dataset.splitting import Split
from vecmigrate.dataset.unasked import caution

__all__ = [
    "Dataset",
    "DevSet",
    "GradedPair",
    "Split",
    "TrainingPair",
    "build_dataset",
    "caution",
    "foreign_datasets",
    "latest",
    "list_datasets",
    "met_in_training",
    "remine",
]

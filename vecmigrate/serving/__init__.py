"""How readers follow the pointer: the query encoder and the vectors always come from one version."""

from vecmigrate.serving.opening import open_retriever
from vecmigrate.serving.retriever import Answer, Result, Retriever

__all__ = ["Answer", "Result", "Retriever", "open_retriever"]

"""How readers follow the pointer: the query encoder and the vectors always come from one version; and how writers reach every version."""

from vecmigrate.serving.following import Following
from vecmigrate.serving.live_index import LiveIndex
from vecmigrate.serving.opening import open_async_collection, open_collection, open_retriever
from vecmigrate.serving.retriever import Answer, Result, Retriever

__all__ = ["Answer", "Following", "LiveIndex", "Result", "Retriever", "open_async_collection", "open_collection", "open_retriever"]

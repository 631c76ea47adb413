"""vecmigrate: fine-tune an embedding model on your own query log and move a live vector store to it, reversibly."""

__version__ = "0.1.0"

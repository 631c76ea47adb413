"""From texts to vectors: the Encoder protocol, the sentence-transformers backend, and the catalog of model versions."""

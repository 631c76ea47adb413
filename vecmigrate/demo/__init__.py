"""The offline demo: a real documentation corpus and a search log written for it."""

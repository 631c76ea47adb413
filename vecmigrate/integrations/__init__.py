"""Retrieval frameworks over a collection that follows the serving pointer. Each module needs its framework; this one needs none.

    vecmigrate.integrations.langchain    langchain-chroma                    pip install 'vecmigrate[langchain]'
    vecmigrate.integrations.llamaindex   llama-index-vector-stores-chroma    pip install 'vecmigrate[llamaindex]'
    vecmigrate.integrations.haystack     chroma-haystack                     pip install 'vecmigrate[haystack]'

Each takes an open `VersionedCollection`, or the path of a vecmigrate.toml.
"""

"""For those who test against vecmigrate or write an adapter: a store in memory, hashing encoders, the conformance suite, an embedded PostgreSQL.

Nothing here is imported by the product itself, but for `vecmigrate demo`, which uses the embedded server.
"""

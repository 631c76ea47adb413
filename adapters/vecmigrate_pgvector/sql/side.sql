-- name: create
-- why: beside the application's table, keyed like it, without an index until the load is done
CREATE TABLE {side_table} ({definition}, text_hash bytea NOT NULL CHECK (octet_length(text_hash) = 32),
    embedding {vector_type} NOT NULL, PRIMARY KEY ({side_keys}))

-- name: drop
-- why: frees the space of a version that has gone
DROP TABLE IF EXISTS {side_table}

-- name: page
-- why: a keyset page in a statement of its own: no long snapshot, and the cost does not grow with the distance
WITH page AS MATERIALIZED (SELECT {page_columns}, s.t FROM {source} WHERE {beyond} ORDER BY {keys} LIMIT %(limit)s)
SELECT {page_key_texts}, CASE WHEN page.t ~ '\S' AND (v.h IS NULL OR v.h <> sha256(convert_to(page.t, 'UTF8'))) THEN page.t END
FROM page LEFT JOIN {side} ON {page_on} ORDER BY {page_keys}

-- name: control_page
-- why: the same for v0, where a row is done when it has a vector
WITH page AS MATERIALIZED (
    SELECT {page_columns}, CASE WHEN s.e IS NULL THEN s.t END AS t FROM {source} WHERE {beyond} ORDER BY {keys} LIMIT %(limit)s)
SELECT {page_key_texts}, CASE WHEN page.t ~ '\S' THEN page.t END FROM page ORDER BY {page_keys}

-- name: has_index
-- why: a failed COPY into an indexed table leaves dead entries in its graph, so there the rows go through a staging table
SELECT pg_catalog.to_regclass(%(index)s) IS NOT NULL

-- name: copy
-- why: binary, straight into the table: the fastest way in
COPY {side_table} ({side_keys}, text_hash, embedding) FROM STDIN (FORMAT BINARY)

-- name: staging
-- why: for rows that may be there already, and for key types whose binary form is PostgreSQL's own affair
CREATE TEMPORARY TABLE vecmigrate_staging ({text_keys}, h bytea, e {vector_type}) ON COMMIT DROP

-- name: copy_staging
-- why: as copy
COPY vecmigrate_staging FROM STDIN (FORMAT BINARY)

-- name: upsert
-- why: loading twice is loading once
INSERT INTO {side_table} ({side_keys}, text_hash, embedding) SELECT {casts}, h, e FROM vecmigrate_staging
ON CONFLICT ({side_keys}) DO UPDATE SET text_hash = excluded.text_hash, embedding = excluded.embedding

-- name: remove
-- why: by key, so the primary key's index serves
DELETE FROM {side_table} AS v USING {wanted} WHERE {on}

-- name: rows
-- why: counted, not estimated
SELECT count(*) FROM {side_table}

-- name: vectors
-- why: in pgvector's binary form
SELECT {id}, v.e FROM {side} JOIN {wanted} ON {on}

-- name: vectors_of_control
-- why: v0 is the source's own column
SELECT {id}, s.e FROM {source} JOIN {wanted} ON {on} WHERE s.e IS NOT NULL

-- name: differences
-- why: one full join on the server, so nothing but counts travels
SELECT count(*) FILTER (WHERE c.hs IS NOT NULL), count(*) FILTER (WHERE c.hv IS NOT NULL),
    count(*) FILTER (WHERE c.hv IS NULL), count(*) FILTER (WHERE c.hs <> c.hv), count(*) FILTER (WHERE c.hs IS NULL)
FROM {compared} AS c

-- name: compared
-- why: a text is compared by its hash; rows without text are not expected
(SELECT coalesce({expected_id}, {present_id}) AS id, x.h AS hs, v.h AS hv
FROM (SELECT {keys_named}, sha256(convert_to(s.t, 'UTF8')) AS h FROM {source} WHERE s.t ~ '\S') AS x
FULL JOIN {side} ON {on})

-- name: compared_control
-- why: v0 has no hashes: a row is there when it has a vector; one with a vector and no text is the application's affair
(SELECT {id} AS id, '\x01'::bytea AS hs, CASE WHEN s.e IS NOT NULL THEN '\x01'::bytea END AS hv
FROM {source} WHERE s.t ~ '\S')

-- name: differing
-- why: a few ids of one kind, for people
SELECT c.id FROM {compared} AS c WHERE {kind} ORDER BY c.id COLLATE "C" LIMIT %(sample)s

-- name: lock_for_index
-- why: waits for an index build that a killed client left running on the server, and keeps a second one out
LOCK TABLE {side_table} IN SHARE UPDATE EXCLUSIVE MODE

-- name: build_settings
-- why: an HNSW graph that fits into memory is built several times faster
SELECT pg_catalog.set_config('maintenance_work_mem', %(memory)s, true),
    pg_catalog.set_config('max_parallel_maintenance_workers', %(workers)s, true)

-- name: memory
-- why: never below what the DBA has set
SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
    pg_catalog.current_setting('max_parallel_maintenance_workers')::int

-- name: index_state
-- why: an index that exists may still be invalid, or of other parameters
SELECT i.indisvalid AND i.indisready, c.reloptions::text[] FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indexrelid = pg_catalog.to_regclass(%(index)s)

-- name: create_index
-- why: after the load; not concurrently: it is our own table, and so a killed build leaves nothing behind
CREATE INDEX {index_name} ON {side_table} USING hnsw (embedding {opclass}) WITH (m = {m}, ef_construction = {ef_construction})

-- name: drop_index
-- why: an invalid one is paid for at every write and used by no read
DROP INDEX {index}

-- name: analyze
-- why: a fresh table has no statistics, and the planner would guess
ANALYZE {side_table}

-- name: bad_vectors
-- why: a zero vector has no cosine and is never found
SELECT count(*) FROM {side} WHERE {norm}(v.e) = 0

-- name: bad_vectors_of_control
-- why: as bad_vectors, and of the right dimension
SELECT count(*) FROM {source} WHERE s.e IS NOT NULL AND ({norm}(s.e) = 0 OR {vector_dims}(s.e) <> %(dimension)s)

-- name: explain
-- why: an index that exists may still be unusable: the wrong operator class, or another expression
EXPLAIN (FORMAT JSON) SELECT FROM {relation} WHERE {condition} ORDER BY {vector} {operator} %(query)s LIMIT 1

-- name: index_leaves
-- why: a plan on a partitioned table names the indexes of its partitions
SELECT c.relname::text FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(%(index)s)) t
JOIN pg_catalog.pg_class c ON c.oid = t.relid

-- name: no_seqscan
-- why: small tables are read whole, which says nothing about the index
SELECT pg_catalog.set_config('enable_seqscan', 'off', true)

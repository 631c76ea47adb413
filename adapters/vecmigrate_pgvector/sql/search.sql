-- name: settings
-- why: a filter must not cost results: the scan goes on until k rows pass; plans are made for the values at hand; what the DBA has set
-- for ef_search is never lowered
SELECT pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', true), pg_catalog.set_config('jit', 'off', true),
    pg_catalog.set_config('hnsw.ef_search',
        greatest(nullif(pg_catalog.current_setting('hnsw.ef_search', true), '')::int, %(ef_search)s::int)::text, true)

-- name: iterative
-- why: needs pgvector 0.8
SELECT pg_catalog.set_config('hnsw.iterative_scan', 'strict_order', true),
    pg_catalog.set_config('hnsw.max_scan_tuples', '2147483647', true), pg_catalog.set_config('ivfflat.iterative_scan', 'relaxed_order', true)

-- name: control
-- why: v0 is the application's own column; a NULL or (by cosine) zero vector is no answer
SELECT r.id, r.d FROM (
    SELECT {id} AS id, ({vector} {operator} %(query)s) {inexact} AS d FROM {source}
    WHERE s.e IS NOT NULL AND {dimension} AND {filter}
    ORDER BY ({vector} {operator} %(query)s) {inexact} {tie} LIMIT {k}
) AS r WHERE r.d <> 'NaN'::float8 ORDER BY r.d, r.id COLLATE "C"

-- name: side
-- why: joined with the source, so that a row deleted there is found no more and a filter sees its current values
SELECT r.id, r.d FROM (
    SELECT {id} AS id, (v.e {operator} %(query)s) {inexact} AS d FROM {side} JOIN {source} ON {on}
    WHERE {filter}
    ORDER BY (v.e {operator} %(query)s) {inexact} {tie} LIMIT {k}
) AS r ORDER BY r.d, r.id COLLATE "C"

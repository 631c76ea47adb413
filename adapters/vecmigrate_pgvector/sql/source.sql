-- name: probe
-- why: the operator's expressions are tried once, on no rows, so that a mistake is told before any work
SELECT s.t, s.m, {keys} FROM {source} LIMIT 0

-- name: count
-- why: the chunks that a version must hold
SELECT count(*) FROM {source} WHERE s.t ~ '\S'

-- name: scan
-- why: in one snapshot through a server-side cursor: no offset, no row twice
SELECT {id}, s.t, s.m FROM {source} WHERE s.t ~ '\S'

-- name: sample
-- why: ordered by a hash of seed and id: the same rows for the same data, whatever their order on disk
SELECT {id}, s.t, s.m FROM {source} WHERE s.t ~ '\S' AND s.e IS NOT NULL
ORDER BY md5(%(seed)s || {id}), {id} LIMIT %(size)s

-- name: fetch
-- why: the wanted keys are joined as rows of the key's own types, so the primary key's index serves
SELECT {id}, coalesce(s.t, ''), s.m FROM {source} JOIN {wanted} ON {on}

-- name: count_vectors
-- why: reads no text
SELECT count(*) FROM {source} WHERE s.e IS NOT NULL

-- name: counts
-- why: one pass that reads no vectors
SELECT count(*), count(*) FILTER (WHERE s.t IS NULL OR s.t !~ '\S'), count(*) FILTER (WHERE s.e IS NULL) FROM {source}

-- name: dimensions
-- why: an undeclared vector column can hold several
SELECT {vector_dims}(s.e), count(*) FROM {source} WHERE s.e IS NOT NULL GROUP BY 1 ORDER BY 2 DESC

-- name: json_fields
-- why: a JSON column's keys are fields too; the first rows show them
SELECT key, min(jsonb_typeof(value))
FROM (SELECT s.j FROM {source} WHERE jsonb_typeof(s.j) = 'object' LIMIT 1000) AS r, LATERAL jsonb_each(r.j)
WHERE jsonb_typeof(value) <> 'null' GROUP BY key ORDER BY key LIMIT 200

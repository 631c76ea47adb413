-- name: vector_types
-- why: their OIDs differ from database to database, and binary parameters need them
SELECT t.typname::text, t.oid
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    AND d.classid = 'pg_catalog.pg_type'::regclass
JOIN pg_catalog.pg_type t ON t.oid = d.objid
WHERE e.extname = 'vector' AND t.typname IN ('vector', 'halfvec')

-- name: extension
-- why: types and operators are named with the schema that the extension happens to be in
SELECT e.extversion::text, n.nspname::text
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'vector'

-- name: extension_offered
-- why: "not installed in this database" and "not on this server" need different next steps
SELECT default_version::text FROM pg_catalog.pg_available_extensions WHERE name = 'vector'

-- name: relation
-- why: the operator's name is resolved to an OID once, by PostgreSQL's own rules
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relrowsecurity,
    pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
    pg_catalog.pg_total_relation_size(c.oid), pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%(name)s)

-- name: relation_as_written
-- why: people write MyTable and mean "MyTable"
SELECT pg_catalog.to_regclass(pg_catalog.string_agg(pg_catalog.quote_ident(part), '.' ORDER BY place))::text
FROM pg_catalog.unnest(%(parts)s::text[]) WITH ORDINALITY AS w(part, place)

-- name: tables_with_vectors
-- why: a mistyped name is best answered with the tables that could have been meant
SELECT DISTINCT pg_catalog.format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typname IN ('vector', 'halfvec')
WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname NOT IN ('pg_catalog', %(state_schema)s)
ORDER BY 1 LIMIT 10

-- name: estimate
-- why: whether counting is quick
SELECT reltuples FROM pg_catalog.pg_class WHERE oid = %(oid)s

-- name: estimate_by_name
-- why: as estimate, for a side table
SELECT reltuples FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(%(name)s)

-- name: columns
-- why: types by OID and modifier: the information schema does not know a vector's dimension
SELECT a.attname::text, a.attnum::int, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypmod::int, a.attnotnull,
    CASE WHEN b.typnamespace = 'pg_catalog'::regnamespace OR b.typname IN ('vector', 'halfvec', 'sparsevec', 'citext')
        THEN b.typname::text ELSE pg_catalog.format('%%I.%%I', b.typnamespace::regnamespace, b.typname) END,
    CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
        THEN pg_catalog.format('%%I.%%I', ln.nspname, l.collname) END
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: unique_indexes
-- why: a key must be enforced at once and for all rows, so partial, deferred, invalid and expression indexes don't count
SELECT i.indisprimary, (
        SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE k.place <= i.indnkeyatts)
FROM pg_catalog.pg_index i
WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid

-- name: vector_indexes
-- why: the control's approximate index tells the metric and the parameters that a candidate starts with
SELECT n.nspname::text, c.relname::text, m.amname::text, i.indisvalid AND i.indisready, i.indkey[0]::int, o.opcname::text,
    coalesce(c.reloptions::text[], '{{}}'), coalesce(pg_catalog.pg_get_expr(i.indexprs, i.indrelid), ''),
    i.indpred IS NOT NULL
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname IN ('hnsw', 'ivfflat')
JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
WHERE i.indrelid = %(oid)s
ORDER BY i.indisvalid DESC, m.amname, c.relname

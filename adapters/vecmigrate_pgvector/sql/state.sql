-- name: ping
-- why: shows that a pooled connection is alive before a step that must not be repeated blindly
SELECT 1

-- name: session
-- why: keys travel as text, so every session must write dates, numbers and bytes the same way; hidden rows must be errors
SELECT pg_catalog.set_config('TimeZone', 'UTC', false), pg_catalog.set_config('DateStyle', 'ISO, YMD', false),
    pg_catalog.set_config('IntervalStyle', 'postgres', false), pg_catalog.set_config('extra_float_digits', '1', false),
    pg_catalog.set_config('bytea_output', 'hex', false), pg_catalog.set_config('standard_conforming_strings', 'on', false),
    pg_catalog.set_config('row_security', 'off', false)

-- name: installed
-- why: every reader must get along without the schema, which appears only with adopt
SELECT pg_catalog.to_regclass(%(table)s) IS NOT NULL

-- name: may_make
-- why: who will be refused an hour into the job should hear of it before
SELECT CASE WHEN n.oid IS NULL THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
        ELSE pg_catalog.has_schema_privilege(n.oid, 'CREATE') END,
    n.oid IS NOT NULL, pg_catalog.quote_ident(current_user::text), pg_catalog.quote_ident(pg_catalog.current_database()::text)
FROM (SELECT pg_catalog.to_regnamespace(%(schema)s)::oid AS oid) n

-- name: schema_exists
-- why: a schema made in advance by a DBA needs no CREATE privilege on the database
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s)

-- name: install_lock
-- why: two first adoptions must not create the same tables at once
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vecmigrate install ' || %(schema)s, 0))

-- name: create_schema
-- why: everything of ours is in one schema that can be dropped without touching the application
CREATE SCHEMA {schema}

-- name: install
-- why: the rules of versions and pointer are constraints, so that no program and no person at psql can break them
CREATE TABLE {schema}.transition (
    before text NOT NULL,
    after text NOT NULL,
    PRIMARY KEY (before, after)
);
COMMENT ON TABLE {schema}.transition IS 'the steps that a version''s state may take';

CREATE TABLE {schema}.collection (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{{0,39}}$'),
    source text NOT NULL,
    source_oid bigint NOT NULL,
    settings jsonb NOT NULL,
    active int NOT NULL,
    active_state text NOT NULL DEFAULT 'active' CHECK (active_state = 'active'),
    previous int CHECK (previous <> active),
    epoch bigint NOT NULL CHECK (epoch >= 1)
);
COMMENT ON TABLE {schema}.collection IS 'vecmigrate state, layout 1: the serving pointer of each collection';

CREATE TABLE {schema}.version (
    collection text NOT NULL REFERENCES {schema}.collection DEFERRABLE INITIALLY DEFERRED,
    number int NOT NULL CHECK (number >= 0),
    state text NOT NULL CHECK (state IN ('planned', 'backfilling', 'indexing', 'catching_up', 'ready', 'active', 'standby', 'retired',
        'failed', 'cancelled')),
    model jsonb NOT NULL,
    fingerprint text NOT NULL CHECK (fingerprint = model ->> 'fingerprint'),
    metric text NOT NULL CHECK (metric IN ('cosine', 'inner_product', 'l2')),
    element text NOT NULL CHECK (element IN ('float32', 'float16')),
    dimension int NOT NULL CHECK (dimension BETWEEN 1 AND 16000),
    ann jsonb NOT NULL,
    location text NOT NULL,
    query text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL DEFAULT '',
    PRIMARY KEY (collection, number),
    UNIQUE (collection, number, state)
);
CREATE UNIQUE INDEX version_one_active ON {schema}.version (collection) WHERE state = 'active';

ALTER TABLE {schema}.collection ADD CONSTRAINT collection_active_is_active
    FOREIGN KEY (name, active, active_state) REFERENCES {schema}.version (collection, number, state) DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE {schema}.event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    collection text NOT NULL REFERENCES {schema}.collection DEFERRABLE INITIALLY DEFERRED,
    actor text NOT NULL,
    kind text NOT NULL,
    version int,
    epoch bigint,
    detail jsonb NOT NULL DEFAULT '{{}}'
);
CREATE INDEX event_by_collection ON {schema}.event (collection, id);

CREATE TABLE {schema}.operation (
    collection text PRIMARY KEY,
    what text NOT NULL,
    actor text NOT NULL,
    backend int NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE {schema}.operation IS 'who holds a collection; the lock itself is an advisory one, so a row left by the dead holds nothing';

CREATE FUNCTION {schema}.check_version() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT (NEW.state = 'planned' OR (NEW.number = 0 AND NEW.state = 'active')) THEN
            RAISE EXCEPTION '%@v% cannot begin as %', NEW.collection, NEW.number, NEW.state;
        END IF;
    ELSIF (NEW.collection, NEW.number, NEW.fingerprint, NEW.dimension, NEW.metric, NEW.element)
            IS DISTINCT FROM (OLD.collection, OLD.number, OLD.fingerprint, OLD.dimension, OLD.metric, OLD.element) THEN
        RAISE EXCEPTION '%@v% is a fixed space: its model, dimension, metric and element never change', OLD.collection, OLD.number;
    ELSIF NEW.state <> OLD.state AND NOT EXISTS (
            SELECT FROM {schema}.transition WHERE before = OLD.state AND after = NEW.state) THEN
        RAISE EXCEPTION '%@v% cannot go from % to %', OLD.collection, OLD.number, OLD.state, NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_version BEFORE INSERT OR UPDATE ON {schema}.version FOR EACH ROW EXECUTE FUNCTION {schema}.check_version();

CREATE FUNCTION {schema}.check_pointer() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.epoch <> OLD.epoch + (NEW.active <> OLD.active)::int THEN
        RAISE EXCEPTION 'the epoch of % grows by one with each change of the active version, and else not', OLD.name;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_pointer BEFORE UPDATE ON {schema}.collection FOR EACH ROW EXECUTE FUNCTION {schema}.check_pointer();

CREATE FUNCTION {schema}.keep_event() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever added to';
END $$;
CREATE TRIGGER keep_event BEFORE UPDATE OR DELETE ON {schema}.event FOR EACH ROW EXECUTE FUNCTION {schema}.keep_event();

-- name: sharing_checked
-- why: a schema that was made by an older version lacks the rules on shared vectors
SELECT pg_catalog.to_regprocedure(pg_catalog.quote_ident(%(schema)s) || '.check_sharing()') IS NOT NULL

-- name: install_sharing
-- why: a version whose location is an earlier one's searches that one's vectors: they must be of its space, and stay while it does
CREATE FUNCTION {schema}.check_sharing() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other {schema}.version;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT v.* INTO other FROM {schema}.version v
        WHERE v.collection = NEW.collection AND v.location = NEW.location AND v.number < NEW.number ORDER BY v.number LIMIT 1;
        IF FOUND AND other.state NOT IN ('ready', 'active', 'standby') THEN
            RAISE EXCEPTION '%@v% is %: its vectors are not shared', other.collection, other.number, other.state;
        ELSIF FOUND AND (NEW.metric, NEW.element, NEW.dimension) <> (other.metric, other.element, other.dimension) THEN
            RAISE EXCEPTION '%@v% is another space: its vectors are not shared', other.collection, other.number;
        END IF;
    ELSIF NEW.location <> OLD.location THEN
        RAISE EXCEPTION '%@v% stays where it is', OLD.collection, OLD.number;
    ELSIF NEW.state IN ('retired', 'cancelled', 'failed') AND NEW.state <> OLD.state THEN
        SELECT v.* INTO other FROM {schema}.version v
        WHERE v.collection = OLD.collection AND v.location = OLD.location AND v.number > OLD.number
            AND v.state NOT IN ('retired', 'cancelled') AND NOT EXISTS (
                SELECT FROM {schema}.version e
                WHERE e.collection = OLD.collection AND e.location = OLD.location AND e.number < OLD.number)
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION '%@v% shares the vectors of %@v%', other.collection, other.number, OLD.collection, OLD.number;
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_sharing BEFORE INSERT OR UPDATE ON {schema}.version FOR EACH ROW EXECUTE FUNCTION {schema}.check_sharing();

-- name: search_function
-- why: for applications that speak SQL alone: a query vector of another model than the active one raises instead of ranking
CREATE FUNCTION {schema}.search(collection text, fingerprint text, query {vector}, k int)
RETURNS TABLE (chunk_id text, score float8) LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
#variable_conflict use_column
DECLARE
    serving {schema}.version;
BEGIN
    SELECT v.* INTO serving FROM {schema}.collection c JOIN {schema}.version v ON v.collection = c.name AND v.number = c.active
    WHERE c.name = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'collection % has no serving version', $1;
    END IF;
    IF serving.fingerprint IS DISTINCT FROM $2 THEN
        RAISE EXCEPTION '%@v% serves model %, the query vector is of model %', $1, serving.number, serving.fingerprint, $2
            USING HINT = 'embed the query with the model that serves';
    END IF;
    IF pg_catalog.current_setting('hnsw.iterative_scan', true) IS NOT NULL THEN
        PERFORM pg_catalog.set_config('hnsw.iterative_scan', 'strict_order', true);
    END IF;
    RETURN QUERY EXECUTE serving.query USING $3, $4;
END $$

-- name: add_transition
-- why: the table of steps is the one in vecmigrate.versions, not a second copy of it
INSERT INTO {schema}.transition VALUES (%(before)s, %(after)s) ON CONFLICT DO NOTHING

-- name: pointer
-- why: readers call it for every query, so it is one row by primary key
SELECT active, previous, epoch FROM {schema}.collection WHERE name = %(collection)s

-- name: registered
-- why: a collection's name must not be reused for another table
SELECT source, source_oid, settings FROM {schema}.collection WHERE name = %(collection)s

-- name: lock_collection
-- why: all who change versions or pointer of one collection go through this row, one after the other
SELECT active, previous, epoch FROM {schema}.collection WHERE name = %(collection)s FOR UPDATE

-- name: add_collection
-- why: with its v0 in the same transaction: the foreign keys are checked at commit
INSERT INTO {schema}.collection (name, source, source_oid, settings, active, epoch)
VALUES (%(collection)s, %(source)s, %(source_oid)s, %(settings)s, 0, 1)

-- name: add_version
-- why: the state is checked by trigger, the fingerprint against the model by constraint
INSERT INTO {schema}.version (collection, number, state, model, fingerprint, metric, element, dimension, ann, location, query)
VALUES (%(collection)s, %(number)s, %(state)s, %(model)s, %(fingerprint)s, %(metric)s, %(element)s, %(dimension)s, %(ann)s, %(location)s,
    %(query)s)

-- name: versions
-- why: retired and cancelled ones stay listed, numbers are never used twice
SELECT number, state, model, metric, element, ann, location, created_at, note
FROM {schema}.version WHERE collection = %(collection)s ORDER BY number

-- name: state_of
-- why: a cheap check that a pinned version has not gone, and is still of the model that the query was encoded with
SELECT state, fingerprint FROM {schema}.version WHERE collection = %(collection)s AND number = %(number)s

-- name: dropped
-- why: a version that shares has no table whose absence would say that its end was written down
SELECT EXISTS (SELECT FROM {schema}.event WHERE collection = %(collection)s AND version = %(version)s AND kind = 'drop')

-- name: set_state
-- why: compare-and-set: of two operators one finds no row
UPDATE {schema}.version SET state = %(after)s, note = CASE WHEN %(note)s = '' THEN note ELSE %(note)s END
WHERE collection = %(collection)s AND number = %(number)s AND state = %(before)s

-- name: set_pointer
-- why: epoch grows by one with each change, which the trigger insists on
UPDATE {schema}.collection SET active = %(active)s, previous = active, epoch = epoch + 1
WHERE name = %(collection)s RETURNING active, previous, epoch

-- name: add_event
-- why: in the same transaction as what it tells of
INSERT INTO {schema}.event (collection, actor, kind, version, epoch, detail)
VALUES (%(collection)s, %(actor)s, %(kind)s, %(version)s, %(epoch)s, %(detail)s)

-- name: history
-- why: ids grow in the order of commits because every writer holds the collection's row
SELECT at, actor, kind, version, epoch, detail FROM {schema}.event WHERE collection = %(collection)s ORDER BY id

-- name: short_waits
-- why: the flip holds row locks only, and gives up rather than queue behind a stuck session
SELECT pg_catalog.set_config('lock_timeout', '3s', true), pg_catalog.set_config('statement_timeout', '15s', true)

-- name: try_operation
-- why: the server drops an advisory lock with its session, so a dead holder is never in the way
SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(%(lock)s, 0))

-- name: name_holder
-- why: who is refused learns by whom
INSERT INTO {schema}.operation (collection, what, actor, backend) VALUES (%(collection)s, %(what)s, %(actor)s, pg_catalog.pg_backend_pid())
ON CONFLICT (collection) DO UPDATE SET what = excluded.what, actor = excluded.actor, backend = excluded.backend, since = excluded.since

-- name: forget_holder
-- why: only one's own row, in case the lock was lost and another holds it now
DELETE FROM {schema}.operation WHERE collection = %(collection)s AND backend = pg_catalog.pg_backend_pid()

-- name: holder
-- why: the name for the Conflict
SELECT what, actor, since FROM {schema}.operation WHERE collection = %(collection)s

-- Tables. `user_id` stands first in every primary key and index, so that hash partitioning by user
-- or a distributed Postgres works unchanged. Names compare by their bytes (COLLATE "C").

-- The head of a conversation: its lock, its numbers, its statistics.
CREATE TABLE {schema}.conversations (
    user_id text COLLATE "C" NOT NULL,
    node_id text COLLATE "C" NOT NULL,
    conversation_id text COLLATE "C" NOT NULL,
    -- The last number given; cleared and evicted messages counted.
    last_seq bigint NOT NULL DEFAULT 0,
    -- The oldest message held.
    first_seq bigint,
    -- Of the messages held, those before this number are all system messages.
    others_from bigint NOT NULL DEFAULT 1,
    -- What is held.
    system_count bigint NOT NULL DEFAULT 0,
    user_count bigint NOT NULL DEFAULT 0,
    assistant_count bigint NOT NULL DEFAULT 0,
    tool_count bigint NOT NULL DEFAULT 0,
    system_tokens bigint NOT NULL DEFAULT 0,
    other_tokens bigint NOT NULL DEFAULT 0,
    -- What was ever appended, without what was truncated since: what the running totals of the next
    -- message start from.
    ever_system_count bigint NOT NULL DEFAULT 0,
    ever_other_count bigint NOT NULL DEFAULT 0,
    ever_system_tokens bigint NOT NULL DEFAULT 0,
    ever_other_tokens bigint NOT NULL DEFAULT 0,
    -- When the newest message held was stored, in milliseconds since 1970; -1 where none is held.
    activity bigint NOT NULL DEFAULT -1,
    -- The lineage (C15).
    incarnation bigint NOT NULL DEFAULT (1 + floor(random() * 4503599627370496)::bigint),
    revision bigint NOT NULL DEFAULT 0,
    summarized_through bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, node_id, conversation_id)
);
-- Partial, although every activity is -1 or more, so that nothing but a page by activity can use it:
-- a plan of an empty table would else look a conversation up among all of its node's.
CREATE INDEX conversations_by_activity
    ON {schema}.conversations (user_id, node_id, activity DESC, conversation_id)
    WHERE activity >= -1;

-- Messages. The running totals say what had been appended before each, so that retention finds
-- where to cut without adding up what it keeps.
CREATE TABLE {schema}.conversation_buffers (
    user_id text COLLATE "C" NOT NULL,
    node_id text COLLATE "C" NOT NULL,
    conversation_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    created_at timestamptz NOT NULL,
    message_id text COLLATE "C",
    role text COLLATE "C" NOT NULL,
    content text,
    name text,
    -- json, not jsonb: it keeps numbers and keys as they were written (G3).
    tool_calls json,
    tool_call_id text,
    metadata json,
    -- What else the chat form said: content parts, other fields (C5).
    extra json,
    -- As the caller counted; `tokens` is what retention counts.
    token_count bigint,
    tokens bigint NOT NULL,
    system_count_before bigint NOT NULL,
    other_count_before bigint NOT NULL,
    system_tokens_before bigint NOT NULL,
    other_tokens_before bigint NOT NULL,
    PRIMARY KEY (user_id, node_id, conversation_id, seq)
);

-- The callers' message ids, which outlive their messages (C3).
CREATE TABLE {schema}.message_ids (
    user_id text COLLATE "C" NOT NULL,
    node_id text COLLATE "C" NOT NULL,
    conversation_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    created_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    -- Once the message went: the last number of the conversation at which the id is still known.
    known_until bigint,
    PRIMARY KEY (user_id, node_id, conversation_id, message_id)
);
CREATE INDEX message_ids_outliving
    ON {schema}.message_ids (user_id, node_id, conversation_id, known_until)
    WHERE known_until IS NOT NULL;

-- Namespaces: the space that each is bound to (V3), its number, and what it holds, expired records
-- included. Its row is the lock of whoever writes in it.
CREATE TABLE {schema}.namespaces (
    user_id text COLLATE "C" NOT NULL,
    node_id text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    namespace_number bigint GENERATED ALWAYS AS IDENTITY,
    model text COLLATE "C" NOT NULL,
    dimensions integer NOT NULL,
    records bigint NOT NULL DEFAULT 0,
    words bigint NOT NULL DEFAULT 0,
    -- What the namespace's records get as their `index_dimensions` from now on.
    index_dimensions integer,
    -- Whether all of its records are in the vector index, which then serves its searches.
    is_indexed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, node_id, namespace)
);

-- Records.
CREATE TABLE {schema}.embeddings (
    user_id text COLLATE "C" NOT NULL,
    namespace_number bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    record_number bigint NOT NULL,
    content text NOT NULL,
    document_type text COLLATE "C" NOT NULL,
    -- As it was written (G3); `attributes` is the same for filters, which compare by value.
    metadata json,
    attributes jsonb NOT NULL,
    language text COLLATE "C",
    -- Of everything that makes a record the same (V1).
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    -- What searches compare. Where the numbers are too large or small for 32-bit sums, it is scaled
    -- to length 1, and `original` is what was given.
    embedding {vector}.vector NOT NULL,
    original real[],
    -- The distinct words of the content, and how many it has, repeats included.
    words text[] COLLATE "C" NOT NULL,
    word_count integer NOT NULL,
    -- The dimensions of the vector index that the record is in; null where it is in none.
    index_dimensions integer,
    PRIMARY KEY (user_id, namespace_number, id)
);
-- A search reads every embedding of a namespace and nothing else of most records: embeddings stay
-- in the row, and long contents move out of it.
ALTER TABLE {schema}.embeddings ALTER COLUMN embedding SET STORAGE MAIN;
-- Partial, so that it serves only whoever names a number: nothing else implies its condition. Of an
-- empty table Postgres thinks one index as good as another if both begin with the user, and keeps a
-- plan that uses the wrong one while the table is filled.
CREATE UNIQUE INDEX embeddings_by_number ON {schema}.embeddings (user_id, record_number)
    WHERE record_number IS NOT NULL;
CREATE INDEX embeddings_expiring
    ON {schema}.embeddings (user_id, namespace_number, expires_at)
    WHERE expires_at IS NOT NULL;
CREATE SEQUENCE {schema}.record_numbers;
-- Of a table that was never analysed, Postgres thinks that any column alone finds one row. Twenty
-- records of one user, analysed and gone again, tell it what to expect.
INSERT INTO {schema}.embeddings (
    user_id, namespace_number, id, record_number, content, document_type, attributes, digest,
    created_at, updated_at, embedding, words, word_count)
SELECT 'statistics', 0, n, nextval('{schema}.record_numbers'), '', '', '{}', '', now(), now(),
    '[1]'::{vector}.vector, '{}', 0
FROM generate_series(1, 20) AS n;
ANALYZE {schema}.embeddings;
-- No namespace has the number 0, whoever else may have this name.
DELETE FROM {schema}.embeddings WHERE user_id = 'statistics' AND namespace_number = 0;

-- Which records hold a word, and how often. A table with a plain index rather than a tsvector with
-- GIN: under row level security Postgres uses an index only for operators that cannot leak, which
-- text equality is and full-text matching is not; and an index that starts with the user costs one
-- tenant nothing of another's.
CREATE TABLE {schema}.embedding_words (
    user_id text COLLATE "C" NOT NULL,
    namespace_number bigint NOT NULL,
    word text COLLATE "C" NOT NULL,
    record_number bigint NOT NULL,
    frequency integer NOT NULL,
    PRIMARY KEY (user_id, namespace_number, word, record_number)
);

-- Working memory.
CREATE TABLE {schema}.memory_data (
    user_id text COLLATE "C" NOT NULL,
    node_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- A value is JSON or bytes.
    value json,
    bytes bytea,
    -- Of the value, so that no large one is read to learn it.
    size integer NOT NULL,
    metadata json,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (user_id, node_id, key),
    CHECK ((value IS NULL) <> (bytes IS NULL))
);
CREATE INDEX memory_data_expiring
    ON {schema}.memory_data (user_id, expires_at)
    WHERE expires_at IS NOT NULL;
-- One for the whole store, so that no version ever comes back for a key (W3).
CREATE SEQUENCE {schema}.entry_versions;

-- The store's clock, in whole milliseconds (G8).
CREATE FUNCTION {schema}.now_ms() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT date_trunc('milliseconds', clock_timestamp())
$$;

-- JSON with sorted keys: equal text exactly for identical values. Numbers stay as they are written.
CREATE FUNCTION {schema}.canonical(p_value json) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE json_typeof(p_value)
        WHEN 'object' THEN
            RETURN '{' || coalesce((
                SELECT string_agg(to_json(f.key)::text || ':' || {schema}.canonical(f.value), ','
                    ORDER BY f.key COLLATE "C")
                FROM json_each(p_value) AS f), '') || '}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((
                SELECT string_agg({schema}.canonical(e.value), ',' ORDER BY e.at)
                FROM json_array_elements(p_value) WITH ORDINALITY AS e (value, at)), '') || ']';
        ELSE
            RETURN p_value::text;
    END CASE;
END $$;

-- Whether two JSON values are identical in any order of their keys.
CREATE FUNCTION {schema}.same_json(p_a json, p_b json) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_a IS NULL OR p_b IS NULL THEN p_a IS NULL AND p_b IS NULL
        ELSE p_a::text = p_b::text OR {schema}.canonical(p_a) = {schema}.canonical(p_b)
    END
$$;

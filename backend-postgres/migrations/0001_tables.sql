-- Tables. `user_id` stands first in every primary key and index, so that hash partitioning by user
-- or a distributed Postgres works unchanged. Names compare by their bytes (COLLATE "C").

-- The head of a conversation: its lock, its numbers, its figures.
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
    -- What was ever appended: what the running totals of the next message start from.
    ever_system_count bigint NOT NULL DEFAULT 0,
    ever_system_tokens bigint NOT NULL DEFAULT 0,
    ever_other_tokens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, node_id, conversation_id)
);

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
    -- As the caller counted; `tokens` is what retention reckons with.
    token_count bigint,
    tokens bigint NOT NULL,
    system_count_before bigint NOT NULL,
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
    PRIMARY KEY (user_id, namespace_number, id)
);
-- A search reads every embedding of a namespace and nothing else of most records: embeddings stay
-- in the row, and long contents move out of it.
ALTER TABLE {schema}.embeddings ALTER COLUMN embedding SET STORAGE MAIN;
CREATE UNIQUE INDEX embeddings_numbers ON {schema}.embeddings (user_id, record_number);
CREATE INDEX embeddings_expiring
    ON {schema}.embeddings (user_id, namespace_number, expires_at)
    WHERE expires_at IS NOT NULL;
CREATE SEQUENCE {schema}.record_numbers;

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
    value json NOT NULL,
    metadata json,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (user_id, node_id, key)
);
CREATE INDEX memory_data_expiring
    ON {schema}.memory_data (user_id, expires_at)
    WHERE expires_at IS NOT NULL;
-- One for the whole store, so that no version ever comes back for a key (W3).
CREATE SEQUENCE {schema}.entry_versions;

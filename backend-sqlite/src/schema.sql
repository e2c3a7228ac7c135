-- The schema of a memquill file. Times are milliseconds since 1970. JSON is compact text, NULL for an
-- empty object or list. Roles are numbered as in memquill_core::Role::ALL: 0 system, 1 user,
-- 2 assistant, 3 tool.

-- Says that the file is ours, and which schema it has.
CREATE TABLE memquill_schema (version INTEGER NOT NULL) STRICT;
INSERT INTO memquill_schema VALUES (1);

-- One row per conversation: its statistics, changed in the transaction that changes its messages, so
-- that neither statistics nor retention reads the messages (C8, C10).
CREATE TABLE conversations (
    conversation    INTEGER PRIMARY KEY,
    user            TEXT    NOT NULL,
    node            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    last_seq        INTEGER NOT NULL,
    system_count    INTEGER NOT NULL,
    user_count      INTEGER NOT NULL,
    assistant_count INTEGER NOT NULL,
    tool_count      INTEGER NOT NULL,
    tokens          INTEGER NOT NULL,
    system_tokens   INTEGER NOT NULL,
    -- No message below this number is other than a system message.
    others_from     INTEGER NOT NULL DEFAULT 0,
    -- When the newest message held was stored; -1 where none is held.
    activity        INTEGER NOT NULL DEFAULT -1,
    -- The lineage (C15).
    incarnation        INTEGER NOT NULL DEFAULT (abs(random() % 4503599627370496) + 1),
    revision           INTEGER NOT NULL DEFAULT 0,
    summarized_through INTEGER NOT NULL DEFAULT 0,
    UNIQUE (user, node, name)
) STRICT;

CREATE INDEX conversations_by_activity ON conversations (user, node, activity DESC, name);

-- The messages.
CREATE TABLE conversation_buffers (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    seq          INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    role         INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    token_count  INTEGER,
    id           TEXT,
    name         TEXT,
    tool_call_id TEXT,
    content      TEXT,
    tool_calls   TEXT,
    metadata     TEXT,
    -- What else the chat form said: content parts, other fields (C5).
    extra        TEXT,
    PRIMARY KEY (conversation, seq)
) WITHOUT ROWID, STRICT;

-- The callers' ids, which outlive their messages (C3).
CREATE TABLE message_ids (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    id           TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    body_digest  TEXT    NOT NULL,
    -- Where the message is gone: the last number for which the id is still known.
    known_until  INTEGER,
    PRIMARY KEY (conversation, id)
) WITHOUT ROWID, STRICT;

CREATE INDEX message_ids_of_gone_messages ON message_ids (conversation, known_until)
    WHERE known_until IS NOT NULL;

-- One row per namespace: the embedding space that it is bound to (V3) and, kept by triggers, the
-- statistics of its records, expired ones included until they are swept.
CREATE TABLE namespaces (
    namespace  INTEGER PRIMARY KEY,
    user       TEXT    NOT NULL,
    node       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    dimensions INTEGER NOT NULL,
    records    INTEGER NOT NULL DEFAULT 0,
    words      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (user, node, name)
) STRICT;

-- The embedding, little-endian f32, is stored before the content: a search reads no content.
CREATE TABLE embeddings (
    record        INTEGER PRIMARY KEY,
    namespace     INTEGER NOT NULL REFERENCES namespaces ON DELETE CASCADE,
    id            TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    words         INTEGER NOT NULL,
    language      TEXT,
    document_type TEXT    NOT NULL,
    content_hash  TEXT    NOT NULL,
    embedding     BLOB    NOT NULL,
    metadata      TEXT,
    content       TEXT    NOT NULL,
    UNIQUE (namespace, id)
) STRICT;

-- Leads to a namespace's records in the order in which they lie in the file.
CREATE INDEX embeddings_of_namespace ON embeddings (namespace);

CREATE INDEX embeddings_expiring ON embeddings (namespace, expires_at, words)
    WHERE expires_at IS NOT NULL;

CREATE TRIGGER record_added AFTER INSERT ON embeddings BEGIN
    UPDATE namespaces SET records = records + 1, words = words + NEW.words
    WHERE namespace = NEW.namespace;
END;

CREATE TRIGGER record_changed AFTER UPDATE OF words ON embeddings BEGIN
    UPDATE namespaces SET words = words + NEW.words - OLD.words
    WHERE namespace = NEW.namespace;
END;

CREATE TRIGGER record_removed AFTER DELETE ON embeddings BEGIN
    UPDATE namespaces SET records = records - 1, words = words - OLD.words
    WHERE namespace = OLD.namespace;
END;

-- Which records a word occurs in. What ranking needs of the record is stored here too, so that it
-- reads nothing else.
CREATE TABLE embedding_words (
    namespace  INTEGER NOT NULL,
    word       TEXT    NOT NULL,
    record     INTEGER NOT NULL REFERENCES embeddings ON DELETE CASCADE,
    frequency  INTEGER NOT NULL,
    length     INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (namespace, word, record)
) WITHOUT ROWID, STRICT;

CREATE INDEX embedding_words_of_record ON embedding_words (record);

-- The entries of working memory.
CREATE TABLE memory_data (
    user       TEXT    NOT NULL,
    node       TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    metadata   TEXT,
    -- A value is JSON or bytes.
    value      TEXT,
    bytes      BLOB,
    PRIMARY KEY (user, node, key),
    CHECK ((value IS NULL) <> (bytes IS NULL))
) WITHOUT ROWID, STRICT;

CREATE INDEX memory_data_expiring ON memory_data (expires_at) WHERE expires_at IS NOT NULL;

-- The last version that any entry was given. It only grows, so no version comes back (W3).
CREATE TABLE entry_versions (last INTEGER NOT NULL) STRICT;
INSERT INTO entry_versions VALUES (0);

-- A restored entry brings its version along, which may be lower than the last one given; `last`
-- only grows all the same (W3, W9).
CREATE TRIGGER entry_added AFTER INSERT ON memory_data BEGIN
    UPDATE entry_versions SET last = max(last, NEW.version);
END;

CREATE TRIGGER entry_changed AFTER UPDATE OF version ON memory_data BEGIN
    UPDATE entry_versions SET last = max(last, NEW.version);
END;

-- "MEMQ", for tools that tell files apart.
PRAGMA application_id = 0x4D454D51;

-- How far the removal of old entries has come in its round through the channels: one row; as in ../postgres.
CREATE TABLE retention (
    only_row      INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    -- Whose turn it is, until `due_at`; null between two rounds.
    owner         BLOB    CHECK (length(owner) = 16),
    next_channel  BLOB    NOT NULL DEFAULT x'00000000000000000000000000000000' CHECK (length(next_channel) = 16),
    due_at        INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO retention DEFAULT VALUES;

-- What all instances seal with that clients keep for us: thinking of Responses that no vendor has encrypted.
-- The newest whose time has come seals; older ones still open what they sealed. Written anew by whoever is up.
create table sealing_keys (
    number     integer primary key check (number > 0),
    key        bytea not null check (octet_length(key) = 32),
    -- Behind its making, so that every instance knows a key before one seals with it.
    seals_from timestamptz not null
);

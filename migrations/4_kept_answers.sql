-- An upstream that makes an answer by itself (OpenAI's background responses) gives it a name. It is
-- kept here from the moment that it is known, so that whoever owns the generation after a crash can
-- ask for the rest of that answer, or have it ended, in place of paying for another one.
alter table generations add column kept json;

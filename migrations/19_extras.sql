-- What an answer has beside text, thinking and calls, for when its events are no longer there; null where it has nothing else.
alter table generations add column extras json;

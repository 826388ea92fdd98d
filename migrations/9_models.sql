-- Instances of different configurations on one database: what ends with its owner is left to one that has its model.

-- What prompts can name on this instance; null for a version that does not say, and may have any.
alter table instances add column models text[];

DROP INDEX retrieval.items_by_owner;
DROP INDEX retrieval.items_by_time;
DROP TABLE retrieval.trending_items;
DROP TABLE retrieval.collection_engagement;
DROP TABLE retrieval.item_counts;
DROP TABLE retrieval.item_engagement;
DROP TABLE retrieval.event_batches;
DROP TABLE retrieval.owner_edges;
ALTER TABLE retrieval.collections DROP COLUMN event_types;

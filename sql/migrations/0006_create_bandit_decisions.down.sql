DROP TABLE retrieval.bandit_decisions;

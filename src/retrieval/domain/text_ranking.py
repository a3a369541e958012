"""How well a text fits words: Okapi BM25.

S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (Foundations and Trends in
Information Retrieval 3(4), 2009), with the inverse document frequency that Lucene uses, which is never negative:

    score = sum over words of  idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / average length))
    idf = ln(1 + (documents - frequency + 0.5) / (frequency + 0.5))

tf counts the word in the text, frequency the texts that have it, and a text's length is the number of its distinct
words, which PostgreSQL knows without reading it. Measured on four judged sets in docs/hybrid.md: PostgreSQL's ts_rank
and ts_rank_cd, which know no frequencies, rank questions of many words far worse.
"""

from __future__ import annotations

from math import log

K1 = 1.2
B = 0.75
"""Both as in Lucene's BM25Similarity; lower B was no better on the sets of docs/hybrid.md."""
MAX_RANKED_WORDS = 64
"""Texts are ranked by so many of the rarest words of a query: more would say little, and take time with every text."""


def inverse_frequency(documents: int, frequency: int) -> float:
    """Weight of a word that `frequency` of so many texts have."""
    return log(1.0 + (max(documents - frequency, 0) + 0.5) / (frequency + 0.5))


def word_score(weight: float, occurrences: int, length: int, average_length: float) -> float:
    """What a word of that inverse frequency adds to the score of a text."""
    relative = length / average_length if average_length else 1.0
    return weight * occurrences * (K1 + 1.0) / (occurrences + K1 * (1.0 - B + B * relative))

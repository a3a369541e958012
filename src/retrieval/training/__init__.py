"""Trains the co-engagement model of a collection from its events. Needs the extra `train`."""

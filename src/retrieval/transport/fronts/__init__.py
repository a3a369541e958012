"""The fronts: what speaks HTTP/2. Each serves the same methods, with the same machinery around every call."""

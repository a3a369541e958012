"""The pure core: items, vectors, filters, ranking. No I/O, no asyncio."""

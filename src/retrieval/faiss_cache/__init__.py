"""The FAISS cache: answers searches from memory. It may be thrown away at any moment; Postgres is the truth."""

import os

# Read once, when faiss is loaded, which every module below does. A search is too short to be worth a second thread, and
# the cores are wanted by other searches; builds ask for threads themselves. Setting it later would hold for the calling
# thread alone, and calls are answered in others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

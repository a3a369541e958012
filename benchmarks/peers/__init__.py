"""Other engines under the same load: each is started, loaded, tuned to a recall and stopped by an adapter."""

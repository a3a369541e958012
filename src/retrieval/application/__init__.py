"""Use cases, one a module, over the ports."""

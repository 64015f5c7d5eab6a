"""How curation's work on files is spread: the same stages, one process or many."""

"""The life of a run, from its first check to its report."""

"""A finished run to the Hub: planned, verified, sent in one commit, compared."""

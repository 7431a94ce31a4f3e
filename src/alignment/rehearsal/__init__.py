"""The whole life of a recipe on a laptop, offline, in a few minutes: see `alignment.rehearsal.rehearse`."""

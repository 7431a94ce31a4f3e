"""The folder of a run: what is there, where the run goes on, and what it leaves at the end."""

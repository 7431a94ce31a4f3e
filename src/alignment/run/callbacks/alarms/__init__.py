"""What goes wrong while a run trains, seen in what it logs: one alarm a file, all of them pure.

An alarm sees every log once, in order, so a run that goes on from a checkpoint replays the logs that are kept there and
knows all that the run before it knew.
"""

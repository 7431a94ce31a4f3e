"""What a model answers, measured: before and after training, with intervals."""

"""Models, tokenizers, adapters, attention and log-probabilities."""

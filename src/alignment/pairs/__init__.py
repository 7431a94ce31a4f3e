"""On-policy preference data: prompts, answers, scores, pairs, data set."""

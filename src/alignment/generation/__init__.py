"""Answers of a language model: to one question, and to many at once."""

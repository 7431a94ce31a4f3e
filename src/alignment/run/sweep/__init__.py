"""One recipe trained with several settings, and which of them is best."""

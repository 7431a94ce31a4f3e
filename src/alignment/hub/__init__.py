"""The Hub as its client sees it: accounts, downloads, and errors told once."""

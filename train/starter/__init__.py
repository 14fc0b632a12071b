"""Training data for the starter's adapter: generated sentences and what is read from ../shared/data."""

"""Training: corpora, pretraining, fine-tuning. May import core; nothing imports it."""

"""Corpora for pretraining: from files of text to tokens on disk, and the order in which they are trained on."""

"""Review: people decide what a model found, sentence by sentence; nothing they said is ever overwritten."""

"""Training on one machine or many: plans of commands, and the operations that start and follow them."""

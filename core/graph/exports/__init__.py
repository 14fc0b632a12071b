"""One file an export format: `write(graph, positions, folder)` and the names of the `FILES` it makes."""

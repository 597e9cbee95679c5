"""What users write: flows, loops over `each`, `ask` and its family, batches, and tools that a model calls."""

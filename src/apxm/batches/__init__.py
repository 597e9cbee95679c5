"""One program over many inputs: rows in, a line of output for each, and none of them paid for twice."""

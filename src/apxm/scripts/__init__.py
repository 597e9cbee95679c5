"""Scripts that nobody edited: run as one run, their promised loops overlapped, and compared with line by line."""

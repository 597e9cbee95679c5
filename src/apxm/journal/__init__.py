"""What a run has paid for, on disk: docs/journal.md."""

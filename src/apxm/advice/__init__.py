"""What would have made a run quicker: its trace runs again on virtual time, with one thing changed (docs/advice.md)."""

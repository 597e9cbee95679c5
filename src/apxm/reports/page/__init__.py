"""A run as a page of HTML for a browser, in one file that asks the network for nothing (docs/reports.md)."""

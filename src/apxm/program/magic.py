"""How an artifact is told from a source, without loading what reads either."""

MAGIC = b"APXM"
"""The first bytes of every artifact."""

"""Calls that the SDKs of others make, as operations of a run."""

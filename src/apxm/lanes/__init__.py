"""Lanes, in which ordinary code waits for models while other code goes on."""

"""The simulated backend as an HTTP server that any OpenAI-compatible client can call."""

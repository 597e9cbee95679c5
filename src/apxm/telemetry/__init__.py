"""A run as other tools read it: traces for Perfetto, spans for OpenTelemetry."""

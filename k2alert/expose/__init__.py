"""expose: what we know comes in as values; metrics, an API and probes go out over HTTP."""

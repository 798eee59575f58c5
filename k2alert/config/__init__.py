"""config: YAML and the environment come in; one frozen `Config`, or every problem with its place, goes out."""

"""What leaves for each provider's true host, whole: host, path, headers and body, by a golden table in YAML."""

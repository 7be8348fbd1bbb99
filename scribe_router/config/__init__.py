"""YAML files to a frozen registry, with every mistake as `file:line:column: place: problem`."""

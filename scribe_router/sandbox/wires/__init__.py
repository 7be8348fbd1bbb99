"""The wires: one provider format each."""

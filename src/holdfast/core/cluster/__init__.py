"""Units of a run done by workers on a Ray cluster."""

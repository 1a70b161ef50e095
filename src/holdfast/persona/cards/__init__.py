"""Character cards and lorebooks of role-play front ends, read, made into personas, and written."""

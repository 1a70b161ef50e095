"""Judges of what a reply says: which option, which facts, in whose voice, nearer to what."""

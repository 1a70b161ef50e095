"""Who gets which persona: a file of aliases, routes and keys, read again when it changes."""

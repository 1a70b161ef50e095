"""The engine of a server: a thread that batches replies, alone or in a process of its own."""

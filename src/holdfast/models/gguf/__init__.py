"""What a GGUF file states and transformers leaves unread: frequencies, layers, tokens, ends."""
